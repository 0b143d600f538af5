-- Keys of persons whose data is sealed here.
create table if not exists subject_keys (
    subject uuid not null constraint subject_keys_pkey primary key,
    key_id text,
    wrapped bytea,
    created_at timestamptz not null,
    destroyed_at timestamptz,
    constraint subject_keys_destroyed_check
        check ((wrapped is null) = (destroyed_at is not null) and (key_id is null) = (wrapped is null))
);
create index if not exists subject_keys_key_id_idx on subject_keys (key_id);

-- What a customer says that they transfer (policy 2.1.1; obligation P2.1.1e.1).
create table bank_transfers (
    bank_transfer_id      uuid        not null,
    account_id            uuid        not null,
    reference             text        not null,
    bank_name             text        not null,
    account_number_sealed bytea       not null,
    account_number_last4  text        not null,
    account_number_mac    bytea       not null,
    account_name_sealed   bytea       not null,
    amount_fen            bigint      not null,
    -- What came and is credited; more than was declared only by an operator's match.
    credited_fen          bigint      not null default 0,
    transfer_at           timestamptz not null,
    created_at            timestamptz not null,
    constraint bank_transfers_pkey primary key (bank_transfer_id),
    constraint bank_transfers_reference_key unique (reference),
    constraint bank_transfers_amount_fen_check check (amount_fen > 0 and credited_fen >= 0)
);
create index bank_transfers_account_id_idx on bank_transfers (account_id, bank_transfer_id);
create index bank_transfers_account_number_mac_idx on bank_transfers (account_number_mac)
    where credited_fen < amount_fen;

-- The lines of the bank's statements. Who sent them is kept as a keyed hash and four characters.
create table bank_lines (
    bank_line_id         uuid        not null,
    serial               text        not null,
    -- A keyed hash of everything that the bank said: the same serial number says the same for ever.
    content_mac          bytea       not null,
    amount_fen           bigint      not null,
    -- What belongs to a customer.
    matched_fen          bigint      not null default 0,
    account_number_mac   bytea,
    account_number_last4 text        not null,
    reference            text        not null,
    -- The line that this one takes back.
    reverses             uuid,
    reversed_at          timestamptz,
    booked_at            timestamptz not null,
    imported_at          timestamptz not null,
    constraint bank_lines_pkey primary key (bank_line_id),
    constraint bank_lines_serial_key unique (serial),
    constraint bank_lines_reverses_key unique (reverses),
    constraint bank_lines_reverses_fkey foreign key (reverses) references bank_lines,
    constraint bank_lines_amount_fen_check
        check (amount_fen > 0 and matched_fen between 0 and amount_fen)
);
create index bank_lines_unmatched_idx on bank_lines (bank_line_id)
    where matched_fen < amount_fen and reversed_at is null and reverses is null;

-- Which money of a line was credited for which declaration; below zero: taken back.
create table bank_matches (
    bank_match_id    uuid        not null,
    bank_line_id     uuid        not null,
    bank_transfer_id uuid        not null,
    account_id       uuid        not null,
    amount_fen       bigint      not null,
    -- Null: by itself.
    matched_by       uuid,
    matched_at       timestamptz not null,
    constraint bank_matches_pkey primary key (bank_match_id),
    constraint bank_matches_bank_line_id_fkey foreign key (bank_line_id) references bank_lines,
    constraint bank_matches_bank_transfer_id_fkey
        foreign key (bank_transfer_id) references bank_transfers,
    constraint bank_matches_amount_fen_check check (amount_fen <> 0)
);
create index bank_matches_bank_line_id_idx on bank_matches (bank_line_id);
create index bank_matches_account_id_idx on bank_matches (account_id, matched_at, bank_match_id);
create trigger bank_matches_append_only before update or delete on bank_matches
    for each row execute function refuse_change();
create trigger bank_matches_no_truncate before truncate on bank_matches
    for each statement execute function refuse_change();
create trigger bank_lines_kept before delete on bank_lines
    for each row execute function refuse_early_deletion('imported_at');
create trigger bank_lines_no_truncate before truncate on bank_lines
    for each statement execute function refuse_change();
create trigger bank_transfers_kept before delete on bank_transfers
    for each row execute function refuse_early_deletion('created_at');
create trigger bank_transfers_no_truncate before truncate on bank_transfers
    for each statement execute function refuse_change();

-- What our bank holds (negative), what came and belongs to nobody yet (we owe it), and what customers
-- owe us because the bank took back what they had spent (negative). The kinds that other migrations
-- know stay allowed.
alter table ledger_accounts
    drop constraint ledger_accounts_kind_check,
    drop constraint ledger_accounts_account_id_check,
    drop constraint ledger_accounts_balance_nanos_check,
    add constraint ledger_accounts_kind_check
        check (kind in ('available', 'leased', 'revenue', 'refund_due', 'cash_wechat', 'cash_alipay',
                        'cash_bank', 'bank_unmatched', 'bank_owed')),
    add constraint ledger_accounts_account_id_check
        check ((kind like 'cash\_%' or kind = 'bank_unmatched') = (account_id is null)),
    add constraint ledger_accounts_balance_nanos_check
        check (kind like 'cash\_%' or kind = 'bank_owed' or balance_nanos >= 0);
alter table transfers
    drop constraint transfers_kind_check,
    add constraint transfers_kind_check check (kind in ('top_up', 'lease', 'usage', 'lease_return',
        'surplus', 'refund_of_credit', 'refund_of_usage', 'refund',
        'bank_receipt', 'bank_credit', 'bank_return', 'bank_recall', 'bank_debt'));
