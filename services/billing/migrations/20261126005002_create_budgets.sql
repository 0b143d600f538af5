-- What the calls of an app or of a key may cost. What is used of a budget is not kept but summed: the
-- settled calls (usage_days) and what its leases hold.
create table budgets (
    budget_id    uuid        not null,
    account_id   uuid        not null,
    app_id       uuid,
    key_id       uuid,
    amount_nanos bigint      not null,
    period       text        not null,
    -- The first day that counts, of a budget for ever.
    first_day    date        not null,
    changed_at   timestamptz not null,
    constraint budgets_pkey primary key (budget_id),
    constraint budgets_subject_key unique nulls not distinct (account_id, app_id, key_id),
    constraint budgets_subject_check check ((app_id is null) <> (key_id is null)),
    constraint budgets_amount_nanos_check check (amount_nanos >= 0),
    constraint budgets_period_check check (period in ('month', 'total'))
);

-- Which calls a lease pays for; null: every app without a budget, every key without one, every model.
alter table leases
    add column app_id uuid,
    add column key_id uuid,
    add column models text[];

-- When a budget or a package of the account last changed: replicas ask anew what a lease pays for.
alter table recalls add column changed_at timestamptz;
