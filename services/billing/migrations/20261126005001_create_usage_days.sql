-- What calls used and cost, by day (Asia/Shanghai), app, key and model. The database adds up what is
-- inserted, whoever inserts it, so that the version before this one is counted too.
create table usage_days (
    account_id    uuid   not null,
    day           date   not null,
    app_id        uuid   not null,
    key_id        uuid   not null,
    model         text   not null,
    calls         bigint not null,
    input_tokens  bigint not null,
    output_tokens bigint not null,
    amount_nanos  bigint not null,
    constraint usage_days_pkey primary key (account_id, day, app_id, key_id, model),
    constraint usage_days_check
        check (calls > 0 and input_tokens >= 0 and output_tokens >= 0 and amount_nanos >= 0)
);
create index usage_days_app_id_idx on usage_days (account_id, app_id, day);
create index usage_days_key_id_idx on usage_days (account_id, key_id, day);
create trigger usage_days_no_truncate before truncate on usage_days
    for each statement execute function refuse_change();

create function count_calls() returns trigger language plpgsql as $$
begin
    insert into usage_days as u (account_id, day, app_id, key_id, model, calls, input_tokens,
                                 output_tokens, amount_nanos)
    select account_id, (booked_at at time zone 'Asia/Shanghai')::date, app_id, key_id, model,
           count(*), sum(input_tokens), sum(output_tokens), sum(amount_nanos)
    from fresh
    group by 1, 2, 3, 4, 5
    -- In one order, so that no two transactions wait for each other in a circle.
    order by 1, 2, 3, 4, 5
    on conflict on constraint usage_days_pkey do update set
        calls = u.calls + excluded.calls,
        input_tokens = u.input_tokens + excluded.input_tokens,
        output_tokens = u.output_tokens + excluded.output_tokens,
        amount_nanos = u.amount_nanos + excluded.amount_nanos;
    return null;
end $$;

-- Nobody settles between the sums and the trigger.
lock table calls in share row exclusive mode;
insert into usage_days (account_id, day, app_id, key_id, model, calls, input_tokens, output_tokens,
                        amount_nanos)
select account_id, (booked_at at time zone 'Asia/Shanghai')::date, app_id, key_id, model,
       count(*), sum(input_tokens), sum(output_tokens), sum(amount_nanos)
from calls
group by 1, 2, 3, 4, 5;
create trigger calls_count after insert on calls referencing new table as fresh
    for each statement execute function count_calls();
