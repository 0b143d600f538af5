-- Money that goes back to the payer of one payment.
create table refunds (
    refund_id               uuid        not null,
    order_id                uuid        not null,
    provider                text        not null,
    provider_transaction_id text        not null,
    amount_fen              bigint      not null,
    reason                  text        not null,
    state                   text        not null,
    -- How often it was sent under a new number.
    attempt                 integer     not null default 1,
    -- What the provider says of it, in its words.
    provider_state          text        not null default '',
    case_id                 text,
    evidence_sha256         bytea,
    requested_by            uuid,
    decided_by              uuid,
    requested_at            timestamptz not null,
    decided_at              timestamptz,
    ended_at                timestamptz,
    -- The provider is told or asked again after this.
    query_after             timestamptz not null,
    queries                 integer     not null default 0,
    constraint refunds_pkey primary key (refund_id),
    constraint refunds_order_id_fkey foreign key (order_id) references orders,
    constraint refunds_payment_fkey
        foreign key (provider, provider_transaction_id) references payments,
    constraint refunds_amount_fen_check check (amount_fen > 0),
    constraint refunds_reason_check check (reason in ('infringement_dispute', 'prepaid_not_provided',
        'minor', 'duplicate_payment', 'paid_after_cancellation')),
    constraint refunds_state_check
        check (state in ('requested', 'refused', 'approved', 'sent', 'succeeded', 'failed')),
    constraint refunds_requested_by_check check
        ((reason in ('duplicate_payment', 'paid_after_cancellation')) = (requested_by is null)),
    constraint refunds_evidence_check check
        (requested_by is null or (case_id is not null and length(evidence_sha256) = 32)),
    -- Nobody decides alone.
    constraint refunds_decided_by_check check
        (decided_by <> requested_by and (state = 'requested' or requested_by is null or decided_by is not null))
);
-- A payment goes back by itself once.
create unique index refunds_automatic_key on refunds (provider, provider_transaction_id)
    where requested_by is null;
create index refunds_query_after_idx on refunds (query_after) where state in ('approved', 'sent');
create index refunds_order_id_idx on refunds (order_id);
create index refunds_payment_idx on refunds (provider, provider_transaction_id);

-- At most what was paid goes back, whoever asks.
create function check_refundable() returns trigger language plpgsql as $$
begin
    if (select sum(amount_fen) from refunds
        where provider = new.provider and provider_transaction_id = new.provider_transaction_id
          and state <> 'refused')
       > (select amount_fen from payments
          where provider = new.provider and provider_transaction_id = new.provider_transaction_id) then
        raise exception 'more than what was paid' using errcode = 'check_violation',
            constraint = 'refunds_at_most_paid_check';
    end if;
    return null;
end $$;
create trigger refunds_at_most_paid_check after insert or update of amount_fen, state on refunds
    for each row execute function check_refundable();

-- Accounts: what Alipay holds for us, and what a customer gets back.
alter table ledger_accounts
    drop constraint ledger_accounts_kind_check,
    drop constraint ledger_accounts_account_id_check,
    drop constraint ledger_accounts_balance_nanos_check,
    add constraint ledger_accounts_kind_check
        check (kind in ('available', 'leased', 'revenue', 'refund_due', 'cash_wechat', 'cash_alipay')),
    add constraint ledger_accounts_account_id_check
        check ((kind like 'cash\_%') = (account_id is null)),
    add constraint ledger_accounts_balance_nanos_check
        check (kind like 'cash\_%' or balance_nanos >= 0);
alter table transfers
    drop constraint transfers_kind_check,
    add constraint transfers_kind_check check (kind in ('top_up', 'lease', 'usage', 'lease_return',
        'surplus', 'refund_of_credit', 'refund_of_usage', 'refund'));
