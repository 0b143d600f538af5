-- What of an order went to whom (obligations T3.3.3b, P2.1.1e.3): written before it is sent, in the
-- transaction that lets it be sent. Names of fields, never their content.
create table payment_shares (
    share_id   uuid        not null,
    order_id   uuid        not null,
    account_id uuid        not null,
    recipient  text        not null,
    purpose    text        not null,
    fields     text[]      not null,
    shared_at  timestamptz not null,
    constraint payment_shares_pkey primary key (share_id),
    constraint payment_shares_order_id_fkey foreign key (order_id) references orders,
    constraint payment_shares_recipient_check check (recipient in ('wechat', 'alipay')),
    constraint payment_shares_purpose_check check (purpose in ('offer', 'refund')),
    constraint payment_shares_fields_check check (fields <@ array['order_number', 'description', 'amount',
        'expiry', 'payer_address', 'payer_openid', 'payment_number', 'refund_number'])
);
create index payment_shares_order_id_idx on payment_shares (order_id, share_id);
create trigger payment_shares_append_only before update or delete on payment_shares
    for each row execute function refuse_change();
create trigger payment_shares_no_truncate before truncate on payment_shares
    for each statement execute function refuse_change();
revoke update, delete, truncate on payment_shares from current_user;
