-- The bill of each day at each provider: it is fetched after ten in the morning and compared once.
create table provider_bills (
    provider    text        not null,
    day         date        not null,
    -- How often the provider was asked, and when it is asked again.
    tries       integer     not null default 0,
    next_try_at timestamptz not null,
    -- Null: not compared yet.
    compared_at timestamptz,
    lines       bigint      not null default 0,
    agreed      bigint      not null default 0,
    differences bigint      not null default 0,
    constraint provider_bills_pkey primary key (provider, day),
    constraint provider_bills_provider_check check (provider in ('wechat', 'alipay')),
    constraint provider_bills_counts_check
        check (lines >= 0 and agreed >= 0 and differences >= 0 and agreed <= lines)
);
create index provider_bills_due_idx on provider_bills (next_try_at) where compared_at is null;
create index provider_bills_day_idx on provider_bills (day, provider);
create trigger provider_bills_kept before delete on provider_bills
    for each row execute function refuse_early_deletion('next_try_at');
create trigger provider_bills_no_truncate before truncate on provider_bills
    for each statement execute function refuse_change();
revoke truncate on provider_bills from current_user;
