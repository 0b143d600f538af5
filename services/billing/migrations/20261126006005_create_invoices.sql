-- Requests for fapiao of paid orders (what stands on one about the buyer is sealed as a whole).
create table invoices (
    invoice_id   uuid        not null,
    order_id     uuid        not null,
    account_id   uuid        not null,
    kind         text        not null,
    amount_fen   bigint      not null,
    state        text        not null,
    number       text,
    red_number   text,
    buyer_sealed bytea       not null,
    requested_at timestamptz not null,
    decided_by   uuid,
    issued_at    timestamptz,
    ended_at     timestamptz,
    constraint invoices_pkey primary key (invoice_id),
    constraint invoices_order_id_fkey foreign key (order_id) references orders,
    constraint invoices_number_key unique (number),
    constraint invoices_red_number_key unique (red_number),
    constraint invoices_kind_check check (kind in ('general_person', 'general_enterprise', 'special')),
    constraint invoices_state_check check (state in ('requested', 'withdrawn', 'refused', 'issued',
        'reversal_due', 'reversed')),
    constraint invoices_amount_fen_check check (amount_fen > 0),
    constraint invoices_number_check check
        ((state in ('issued', 'reversal_due', 'reversed')) = (number is not null)
         and (state = 'reversed') = (red_number is not null))
);
create index invoices_account_id_idx on invoices (account_id, invoice_id);
create index invoices_order_id_idx on invoices (order_id);
create index invoices_open_idx on invoices (invoice_id) where state in ('requested', 'reversal_due');

-- At most what was paid and not given back is invoiced, whoever asks. What was issued before money went
-- back counts until its red fapiao: it is not in the way of itself.
create function check_invoiceable() returns trigger language plpgsql as $$
begin
    if (select sum(amount_fen) from invoices
        where order_id = new.order_id and state in ('requested', 'issued', 'reversal_due'))
       > (select p.amount_fen - coalesce((select sum(r.amount_fen) from refunds r
              where r.provider = p.provider and r.provider_transaction_id = p.provider_transaction_id
                and r.state <> 'refused'), 0)
          from payments p where p.order_id = new.order_id and not p.surplus) then
        raise exception 'more than what was paid' using errcode = 'check_violation',
            constraint = 'invoices_at_most_paid_check';
    end if;
    return null;
end $$;
create trigger invoices_at_most_paid_check after insert on invoices
    for each row execute function check_invoiceable();
create trigger invoices_kept before delete on invoices
    for each row execute function refuse_early_deletion('requested_at');
create trigger invoices_no_truncate before truncate on invoices
    for each statement execute function refuse_change();
revoke truncate on invoices from current_user;

-- Who looked at money, and at what is sealed about it.
create table money_accesses (
    access_id   uuid        not null,
    operator_id uuid        not null,
    action      text        not null,
    subject     text        not null,
    accessed_at timestamptz not null,
    constraint money_accesses_pkey primary key (access_id),
    constraint money_accesses_action_check
        check (action in ('search', 'trace', 'export', 'invoice_buyer', 'delivery'))
);
create trigger money_accesses_append_only before update or delete on money_accesses
    for each row execute function refuse_change();
create trigger money_accesses_no_truncate before truncate on money_accesses
    for each statement execute function refuse_change();
revoke update, delete, truncate on money_accesses from current_user;

-- What money is looked for by.
create index payments_amount_fen_idx on payments (amount_fen, paid_at);
create index payments_provider_transaction_id_idx on payments (provider_transaction_id);
