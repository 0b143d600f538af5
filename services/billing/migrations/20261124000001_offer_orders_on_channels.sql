-- An order may be offered through several providers; each pair is asked about, closed and paid on
-- its own.
create table order_channels (
    order_id    uuid        not null,
    provider    text        not null,
    method      text        not null,
    state       text        not null,
    -- What the payer scans or opens.
    code_url    text        not null default '',
    -- The provider is asked again after this.
    query_after timestamptz not null,
    queries     integer     not null default 0,
    created_at  timestamptz not null,
    constraint order_channels_pkey primary key (order_id, provider),
    constraint order_channels_order_id_fkey foreign key (order_id) references orders,
    constraint order_channels_provider_check check (provider in ('wechat', 'alipay')),
    constraint order_channels_method_check check (split_part(method, '_', 1) = provider),
    constraint order_channels_state_check
        check (state in ('created', 'open', 'paid', 'closed', 'absent'))
);
create index order_channels_query_after_idx on order_channels (query_after)
    where state in ('created', 'open', 'absent');

insert into order_channels (order_id, provider, method, state, code_url, query_after, queries, created_at)
select order_id, 'wechat', provider,
       case state when 'awaiting_payment' then 'open' when 'expired' then 'closed' else state end,
       code_url, query_after, queries, created_at
from orders;

-- The version before makes orders without a channel: they get theirs here. To be dropped with
-- orders.code_url, query_after and queries when that version is gone.
create function offer_order() returns trigger language plpgsql as $$
begin
    insert into order_channels (order_id, provider, method, state, query_after, created_at)
    values (new.order_id, split_part(new.provider, '_', 1), new.provider, 'created', new.query_after,
            new.created_at);
    return null;
end $$;
create trigger orders_offered after insert on orders for each row execute function offer_order();

alter table orders drop constraint orders_provider_check,
    add constraint orders_provider_check
        check (provider in ('wechat_native', 'alipay_precreate', 'alipay_page')),
    drop constraint orders_state_check,
    add constraint orders_state_check
        check (state in ('created', 'awaiting_payment', 'paid', 'expired', 'cancelling', 'cancelled'));

-- A payment that is not credited goes back. One is credited for an order, and only a provider
-- through which the order is offered can have been paid.
alter table payments add column surplus boolean not null default false,
    drop constraint payments_order_id_key,
    add constraint payments_order_id_provider_fkey
        foreign key (order_id, provider) references order_channels (order_id, provider);
create unique index payments_order_id_credited_key on payments (order_id) where not surplus;
create index payments_order_id_idx on payments (order_id);
