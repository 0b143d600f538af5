-- Prices beyond those of tokens of prompt and answer, and tiers. The version before reads `prices` only,
-- finds in it what it knows, and charges every token of a prompt or an answer alike.
create table price_tiers (
    version         integer not null,
    tier            integer not null,
    -- what is to be spent in a calendar month, in 10^-9 CNY
    threshold_nanos bigint  not null,
    constraint price_tiers_pkey primary key (version, tier),
    constraint price_tiers_version_fkey foreign key (version) references price_lists,
    constraint price_tiers_tier_check check (tier > 0),
    constraint price_tiers_threshold_nanos_check check (threshold_nanos > 0)
);

create table unit_prices (
    version        integer not null,
    tier           integer not null,
    model          text    not null,
    unit           text    not null,
    nanos_per_unit bigint  not null,
    constraint unit_prices_pkey primary key (version, tier, model, unit),
    constraint unit_prices_version_fkey foreign key (version) references price_lists,
    constraint unit_prices_tier_check check (tier >= 0),
    -- what `prices` holds is not held twice
    constraint unit_prices_unit_check check (unit in ('cached_input_token', 'reasoning_token',
        'audio_input_token', 'audio_output_token', 'image_input_token', 'audio_second', 'page', 'image',
        'call') or (tier > 0 and unit in ('input_token', 'output_token'))),
    constraint unit_prices_nanos_per_unit_check check (nanos_per_unit >= 0)
);

create trigger price_tiers_append_only before update or delete on price_tiers
    for each row execute function refuse_change();
create trigger price_tiers_no_truncate before truncate on price_tiers
    for each statement execute function refuse_change();
create trigger unit_prices_append_only before update or delete on unit_prices
    for each row execute function refuse_change();
create trigger unit_prices_no_truncate before truncate on unit_prices
    for each statement execute function refuse_change();
revoke delete, truncate on price_tiers, unit_prices from current_user;

-- The tier that the account was in when the lease was granted: its calls are billed at it.
alter table leases add column price_tier integer not null default 0;

-- What was counted beside tokens of prompt and answer, by unit.
alter table calls
    add column parts jsonb not null default '{}',
    add column price_tier integer not null default 0;

-- What an account spent with calls in a calendar month of China Standard Time: decides its tier.
-- Counted by the database, so that calls count that the version before settles.
create table monthly_spending (
    account_id  uuid   not null,
    month       date   not null,
    spent_nanos bigint not null,
    constraint monthly_spending_pkey primary key (account_id, month),
    constraint monthly_spending_month_check check (extract(day from month) = 1),
    constraint monthly_spending_spent_nanos_check check (spent_nanos >= 0)
);
create function count_spending() returns trigger language plpgsql as $$
begin
    insert into monthly_spending (account_id, month, spent_nanos)
    values (new.account_id, date_trunc('month', new.booked_at at time zone 'Asia/Shanghai')::date,
            new.amount_nanos)
    on conflict on constraint monthly_spending_pkey
        do update set spent_nanos = monthly_spending.spent_nanos + excluded.spent_nanos;
    return null;
end $$;
create trigger calls_count_spending after insert on calls
    for each row when (new.amount_nanos > 0) execute function count_spending();
insert into monthly_spending (account_id, month, spent_nanos)
select account_id, date_trunc('month', booked_at at time zone 'Asia/Shanghai')::date, sum(amount_nanos)
from calls where amount_nanos > 0 group by 1, 2;

-- The list that was in force when the order was made (obligation T0.8); null: an order of the version
-- before.
alter table orders
    add column price_version integer,
    add constraint orders_price_version_fkey foreign key (price_version) references price_lists;
