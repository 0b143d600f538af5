create table orders (
    order_id     uuid        not null,
    account_id   uuid        not null,
    amount_fen   bigint      not null,
    provider     text        not null,
    state        text        not null,
    code_url     text        not null default '',
    created_at   timestamptz not null,
    expires_at   timestamptz not null,
    paid_at      timestamptz,
    -- The provider is asked again after this.
    query_after  timestamptz not null,
    queries      integer     not null default 0,
    constraint orders_pkey primary key (order_id),
    constraint orders_amount_fen_check check (amount_fen > 0),
    constraint orders_provider_check check (provider in ('wechat_native')),
    constraint orders_state_check check (state in ('created', 'awaiting_payment', 'paid', 'expired')),
    constraint orders_paid_at_check check ((state = 'paid') = (paid_at is not null))
);
create index orders_account_id_idx on orders (account_id, order_id);
create index orders_query_after_idx on orders (query_after) where state in ('created', 'awaiting_payment');
create index orders_paid_at_idx on orders (account_id, paid_at) where state = 'paid';

-- A payment belongs to one provider and one order.
create table payments (
    provider                text        not null,
    provider_transaction_id text        not null,
    order_id                uuid        not null,
    amount_fen              bigint      not null,
    paid_at                 timestamptz not null,
    constraint payments_pkey primary key (provider, provider_transaction_id),
    constraint payments_order_id_key unique (order_id),
    constraint payments_order_id_fkey foreign key (order_id) references orders,
    constraint payments_amount_fen_check check (amount_fen > 0)
);
