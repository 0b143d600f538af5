-- Below what an account wants to be told, and whether it is below now: it is told when that begins.
create table balance_alerts (
    account_id  uuid        not null,
    below_nanos bigint      not null,
    is_below    boolean     not null,
    changed_at  timestamptz not null,
    constraint balance_alerts_pkey primary key (account_id),
    constraint balance_alerts_below_nanos_check check (below_nanos > 0)
);

-- When the account's phone was last told that its credit ran out.
alter table exhaustions add column notified_at timestamptz;
