-- What an account, its apps and its keys may call. A limit of 0: none of its own.
create table limit_rules (
    account_id uuid not null,
    -- 1 the account itself, 2 an app, 3 a key
    level smallint not null constraint limit_rules_level_check check (level between 1 and 3),
    subject_id uuid not null,
    requests_per_minute bigint not null,
    tokens_per_minute bigint not null,
    concurrent_calls bigint not null,
    -- wanwu.inference.v1.Priority
    priority smallint not null constraint limit_rules_priority_check check (priority between 0 and 3),
    -- the operator; null: the account itself
    operator_id uuid,
    changed_at timestamptz not null default now(),
    constraint limit_rules_pkey primary key (account_id, level, subject_id),
    constraint limit_rules_limits_check check (
        requests_per_minute between 0 and 1000000000000
        and tokens_per_minute between 0 and 1000000000000
        and concurrent_calls between 0 and 1000000000000
    )
);
create index limit_rules_changed_at_idx on limit_rules (changed_at);

-- What is left of the requests and tokens of a minute, for all replicas together. Unlogged: when
-- the database crashes they are full again, which costs one minute's limit at most.
create unlogged table limit_buckets (
    level smallint not null,
    subject_id uuid not null,
    -- 1 requests, 2 tokens
    quantity smallint not null,
    -- below 0: more was used than was taken
    units double precision not null,
    filled_at timestamptz not null,
    constraint limit_buckets_pkey primary key (subject_id, level, quantity)
) with (fillfactor = 50);
create index limit_buckets_filled_at_idx on limit_buckets (filled_at);

-- How many calls at a time each replica may run for a subject. Those of an epoch that is over do
-- not count.
create unlogged table limit_slots (
    level smallint not null,
    subject_id uuid not null,
    epoch_id uuid not null,
    slots bigint not null,
    constraint limit_slots_pkey primary key (subject_id, level, epoch_id)
) with (fillfactor = 50);
create index limit_slots_epoch_idx on limit_slots (epoch_id);

-- Takes up to `wants` for each subject and quantity (3: calls at a time), and nothing of it where
-- not even `leasts` is there; answers what was granted and what is left, in order. Callers name
-- subjects in one order, so that two of them never wait for each other.
create function take_limit_allowances(
    of_epoch uuid, levels smallint[], subjects uuid[], quantities smallint[],
    capacities bigint[], leasts bigint[], wants bigint[]
) returns table (granted bigint, available double precision) language plpgsql as $$
begin
    for at in 1 .. cardinality(levels) loop
        if quantities[at] = 3 then
            perform pg_advisory_xact_lock(hashtextextended(subjects[at]::text, levels[at]));
            select capacities[at] - coalesce(sum(s.slots), 0) into available
                from limit_slots s join router_epochs e on e.epoch_id = s.epoch_id
                where s.subject_id = subjects[at] and s.level = levels[at]
                    and e.alive_until > clock_timestamp();
        else
            insert into limit_buckets (level, subject_id, quantity, units, filled_at)
                values (levels[at], subjects[at], quantities[at], capacities[at], clock_timestamp())
                on conflict on constraint limit_buckets_pkey do nothing;
            select least(capacities[at], b.units + capacities[at] / 60.0
                    * greatest(0, extract(epoch from clock_timestamp() - b.filled_at))) into available
                from limit_buckets b
                where b.subject_id = subjects[at] and b.level = levels[at]
                    and b.quantity = quantities[at]
                for update;
        end if;
        granted := floor(greatest(0, least(wants[at], available)));
        if granted < leasts[at] then
            granted := 0;
        end if;
        available := available - granted;
        if quantities[at] <> 3 then
            update limit_buckets b set units = take_limit_allowances.available,
                    filled_at = greatest(b.filled_at, clock_timestamp())
                where b.subject_id = subjects[at] and b.level = levels[at]
                    and b.quantity = quantities[at];
        elsif granted > 0 then
            insert into limit_slots as s (level, subject_id, epoch_id, slots)
                values (levels[at], subjects[at], of_epoch, granted)
                on conflict on constraint limit_slots_pkey
                do update set slots = s.slots + excluded.slots;
        end if;
        return next;
    end loop;
end $$;

-- Gives back what a replica does not need; below 0: what it used beyond what it took.
create function give_limit_allowances(
    of_epoch uuid, levels smallint[], subjects uuid[], quantities smallint[],
    capacities bigint[], amounts bigint[]
) returns void language plpgsql as $$
begin
    for at in 1 .. cardinality(levels) loop
        if quantities[at] = 3 then
            update limit_slots s set slots = greatest(0, s.slots - amounts[at])
                where s.subject_id = subjects[at] and s.level = levels[at]
                    and s.epoch_id = of_epoch;
        else
            update limit_buckets b set filled_at = greatest(b.filled_at, clock_timestamp()),
                    units = least(capacities[at], b.units + amounts[at] + capacities[at] / 60.0
                        * greatest(0, extract(epoch from clock_timestamp() - b.filled_at)))
                where b.subject_id = subjects[at] and b.level = levels[at]
                    and b.quantity = quantities[at];
        end if;
    end loop;
end $$;
