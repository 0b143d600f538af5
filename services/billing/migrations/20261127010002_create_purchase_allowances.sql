-- What guardians allow minors to buy, as privacy tells it: the newest word of each.
create table purchase_allowances (
    account_id      uuid        not null,
    version         bigint      not null,
    order_limit_fen bigint      not null,
    month_limit_fen bigint      not null,
    until           timestamptz not null,
    constraint purchase_allowances_pkey primary key (account_id),
    constraint purchase_allowances_version_check check (version > 0)
);

-- Which word covered a minor's order (obligation T3.3.1c); null: an adult's, or of a version before.
alter table orders add column allowance_version bigint;
create trigger orders_allowed before update on orders for each row
    when (old.allowance_version is distinct from new.allowance_version)
    execute function refuse_change();
create index orders_created_at_idx on orders (account_id, created_at);
