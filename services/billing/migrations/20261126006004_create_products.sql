-- Catalogues of what can be ordered beside credit: immutable by their version.
create table catalogues (
    version      integer     not null,
    effective_at timestamptz not null,
    products     jsonb       not null,
    constraint catalogues_pkey primary key (version),
    constraint catalogues_effective_at_key unique (effective_at),
    constraint catalogues_version_check check (version > 0)
);
create trigger catalogues_append_only before update or delete on catalogues
    for each row execute function refuse_change();
create trigger catalogues_no_truncate before truncate on catalogues
    for each statement execute function refuse_change();

-- What an order is for; an order without an item is a top-up (obligation P2.1.1d.2).
create table order_items (
    order_id          uuid    not null,
    catalogue_version integer not null,
    product_id        text    not null,
    quantity          integer not null,
    unit_fen          bigint  not null,
    -- The version of the product's own terms that was accepted with the order; empty: it has none.
    addendum          text    not null,
    constraint order_items_pkey primary key (order_id),
    constraint order_items_order_id_fkey foreign key (order_id) references orders,
    constraint order_items_catalogue_version_fkey
        foreign key (catalogue_version) references catalogues,
    constraint order_items_quantity_check check (quantity > 0 and unit_fen > 0)
);
create function check_order_amount() returns trigger language plpgsql as $$
begin
    if new.quantity * new.unit_fen <> (select amount_fen from orders where order_id = new.order_id) then
        raise exception 'the amount is not quantity times price' using errcode = 'check_violation',
            constraint = 'order_items_amount_check';
    end if;
    return null;
end $$;
create trigger order_items_amount_check after insert on order_items
    for each row execute function check_order_amount();
create trigger order_items_append_only before update or delete on order_items
    for each row execute function refuse_change();
create trigger order_items_no_truncate before truncate on order_items
    for each statement execute function refuse_change();

-- What was ordered does not change any more; states do.
create trigger orders_submitted before update on orders for each row
    when ((old.order_id, old.account_id, old.amount_fen, old.provider, old.created_at, old.expires_at)
          is distinct from
          (new.order_id, new.account_id, new.amount_fen, new.provider, new.created_at, new.expires_at))
    execute function refuse_change();

-- The version before knows no products: it may not credit what is paid for one. The payment stays with its
-- provider's notices and our questions until a version comes that does.
create function refuse_credit_for_product() returns trigger language plpgsql as $$
begin
    if exists (select from order_items where order_id = new.cause_id) then
        raise exception 'an order of a product brings no credit' using errcode = 'check_violation',
            constraint = 'transfers_no_credit_for_product_check';
    end if;
    return new;
end $$;
create trigger transfers_no_credit_for_product_check before insert on transfers for each row
    when (new.kind = 'top_up') execute function refuse_credit_for_product();

-- How far a product order is, and who receives it: sealed, and only where it is delivered.
create table fulfilments (
    order_id         uuid        not null,
    state            text        not null,
    tracking         text        not null default '',
    recipient_sealed bytea,
    phone_sealed     bytea,
    address_sealed   bytea,
    changed_at       timestamptz not null,
    changed_by       uuid,
    constraint fulfilments_pkey primary key (order_id),
    constraint fulfilments_order_id_fkey foreign key (order_id) references order_items,
    constraint fulfilments_state_check check (state in ('pending', 'shipped', 'completed')),
    constraint fulfilments_recipient_check
        check ((recipient_sealed is null) = (phone_sealed is null)
               and (phone_sealed is null) = (address_sealed is null)),
    constraint fulfilments_changed_by_check check ((state = 'pending') = (changed_by is null))
);
create index fulfilments_open_idx on fulfilments (order_id) where state <> 'completed';
create trigger fulfilments_no_truncate before truncate on fulfilments
    for each statement execute function refuse_change();
revoke truncate on fulfilments from current_user;

-- What a customer paid for and did not get yet; we owe it. The kinds that are known stay, whoever brought
-- them.
do $$
declare
    known text;
begin
    select pg_get_expr(conbin, conrelid) into strict known from pg_constraint
    where conname = 'ledger_accounts_kind_check';
    alter table ledger_accounts drop constraint ledger_accounts_kind_check;
    execute format('alter table ledger_accounts add constraint ledger_accounts_kind_check check ((%s) or kind = %L)',
        known, 'held');
    select pg_get_expr(conbin, conrelid) into strict known from pg_constraint
    where conname = 'transfers_kind_check';
    alter table transfers drop constraint transfers_kind_check;
    execute format('alter table transfers add constraint transfers_kind_check check ((%s) or kind in (%L, %L, %L))',
        known, 'sale', 'fulfilment', 'refund_of_sale');
end $$;
