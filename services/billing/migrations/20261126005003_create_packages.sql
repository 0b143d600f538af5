-- What can be had: it never changes under its name.
create table package_products (
    product      text        not null,
    offer        text        not null,
    price_fen    bigint      not null,
    credit_nanos bigint      not null,
    -- Null: every model.
    models       text[],
    -- Null: to the end of the month.
    days         integer,
    published_at timestamptz not null,
    constraint package_products_pkey primary key (product),
    constraint package_products_offer_check
        check (offer in ('sold', 'free_once', 'free_monthly', 'granted')),
    constraint package_products_price_fen_check check ((offer = 'sold') = (price_fen > 0)),
    -- Nobody pays more than what they get.
    constraint package_products_credit_nanos_check
        check (credit_nanos > 0 and credit_nanos >= price_fen * 10000000),
    constraint package_products_days_check
        check (days > 0 and (days is null) = (offer = 'free_monthly'))
);
create trigger package_products_append_only before update or delete on package_products
    for each row execute function refuse_change();
create trigger package_products_no_truncate before truncate on package_products
    for each statement execute function refuse_change();

-- An order of a package; null: of credit.
alter table orders
    add column package_product text,
    add constraint orders_package_product_fkey
        foreign key (package_product) references package_products not valid;

-- A package of an account.
create table packages (
    package_id   uuid        not null,
    account_id   uuid        not null,
    product      text        not null,
    -- Of a free quota: the month (2026-11), or `once`; null: not by itself.
    period       text,
    -- The order that paid for it.
    order_id     uuid,
    -- The operator who gave it.
    granted_by   uuid,
    credit_nanos bigint      not null,
    -- What is free of it.
    left_nanos   bigint      not null,
    models       text[],
    began_at     timestamptz not null,
    expires_at   timestamptz not null,
    constraint packages_pkey primary key (package_id),
    constraint packages_product_fkey foreign key (product) references package_products,
    constraint packages_order_id_fkey foreign key (order_id) references orders,
    constraint packages_order_id_key unique (order_id),
    -- A free quota comes once.
    constraint packages_period_key unique (account_id, product, period),
    constraint packages_origin_check check (num_nonnulls(period, order_id, granted_by) = 1),
    constraint packages_left_nanos_check check (left_nanos between 0 and credit_nanos)
);
create index packages_account_id_idx on packages (account_id, package_id);
create index packages_expires_at_idx on packages (expires_at) where left_nanos > 0;
create trigger packages_kept before delete on packages
    for each row execute function refuse_early_deletion('began_at');
create trigger packages_no_truncate before truncate on packages
    for each statement execute function refuse_change();

-- What a lease holds of packages, in the order in which it is spent; then of the balance.
create table lease_packages (
    -- The cause of its transfers.
    lease_package_id uuid     not null,
    lease_id         uuid     not null,
    place            smallint not null,
    package_id       uuid     not null,
    amount_nanos     bigint   not null,
    constraint lease_packages_pkey primary key (lease_package_id),
    constraint lease_packages_place_key unique (lease_id, place),
    constraint lease_packages_lease_id_fkey foreign key (lease_id) references leases,
    constraint lease_packages_package_id_fkey foreign key (package_id) references packages,
    constraint lease_packages_amount_nanos_check check (amount_nanos > 0)
);
create trigger lease_packages_append_only before update or delete on lease_packages
    for each row execute function refuse_change();
create trigger lease_packages_no_truncate before truncate on lease_packages
    for each statement execute function refuse_change();
-- Their sum: most leases have none, and are freed without looking.
alter table leases
    add column package_nanos bigint not null default 0,
    add constraint leases_package_nanos_check
        check (package_nanos between 0 and amount_nanos) not valid;

-- What a customer has in packages (we owe it), what we gave them of it for nothing (negative), and what
-- ended unused (earned). The kinds that other migrations know stay allowed.
alter table ledger_accounts
    drop constraint ledger_accounts_kind_check,
    drop constraint ledger_accounts_balance_nanos_check,
    add constraint ledger_accounts_kind_check
        check (kind in ('available', 'leased', 'revenue', 'refund_due', 'cash_wechat', 'cash_alipay',
                        'cash_bank', 'bank_unmatched', 'bank_owed', 'package', 'discount', 'expired')),
    add constraint ledger_accounts_balance_nanos_check
        check (case when kind = 'discount' then balance_nanos <= 0
               else kind like 'cash\_%' or kind = 'bank_owed' or balance_nanos >= 0 end);
alter table transfers
    drop constraint transfers_kind_check,
    add constraint transfers_kind_check check (kind in ('top_up', 'lease', 'usage', 'lease_return',
        'surplus', 'refund_of_credit', 'refund_of_usage', 'refund',
        'bank_receipt', 'bank_credit', 'bank_return', 'bank_recall', 'bank_debt',
        'package_sale', 'package_discount', 'package_lease', 'package_return', 'package_expiry'));
