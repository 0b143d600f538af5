-- Double entry. An account's balance is the sum of its entries; a transfer's entries sum to zero.
-- Signs: what the platform owes a customer (available, leased) and what it has earned (revenue) are
-- positive, what others owe the platform (cash at a payment provider) is negative.
create table ledger_accounts (
    ledger_account_id bigint generated always as identity,
    kind              text   not null,
    account_id        uuid,
    balance_nanos     bigint not null default 0,
    constraint ledger_accounts_pkey primary key (ledger_account_id),
    constraint ledger_accounts_kind_account_id_key unique nulls not distinct (kind, account_id),
    constraint ledger_accounts_kind_check
        check (kind in ('available', 'leased', 'revenue', 'cash_wechat')),
    constraint ledger_accounts_account_id_check check ((kind = 'cash_wechat') = (account_id is null)),
    -- Nobody spends what they do not hold.
    constraint ledger_accounts_balance_nanos_check
        check (kind = 'cash_wechat' or balance_nanos >= 0)
);

create table transfers (
    transfer_id uuid        not null,
    kind        text        not null,
    cause_id    uuid        not null,
    booked_at   timestamptz not null,
    constraint transfers_pkey primary key (transfer_id),
    -- The same cause is booked once, whoever asks and however often.
    constraint transfers_kind_cause_id_key unique (kind, cause_id),
    constraint transfers_kind_check check (kind in ('top_up', 'lease', 'usage', 'lease_return'))
);

create table entries (
    transfer_id       uuid   not null,
    ledger_account_id bigint not null,
    amount_nanos      bigint not null,
    constraint entries_pkey primary key (transfer_id, ledger_account_id),
    constraint entries_transfer_id_fkey foreign key (transfer_id) references transfers,
    constraint entries_ledger_account_id_fkey
        foreign key (ledger_account_id) references ledger_accounts,
    constraint entries_amount_nanos_check check (amount_nanos <> 0)
);
create index entries_ledger_account_id_idx on entries (ledger_account_id);

create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only', tg_table_name using errcode = 'restrict_violation';
end $$;

create function check_balanced() returns trigger language plpgsql as $$
begin
    if (select sum(amount_nanos) from entries where transfer_id = new.transfer_id) <> 0 then
        raise exception 'transfer % does not sum to zero', new.transfer_id
            using errcode = 'check_violation', constraint = 'entries_balanced_check';
    end if;
    return null;
end $$;

create trigger transfers_append_only before update or delete on transfers
    for each row execute function refuse_change();
create trigger entries_append_only before update or delete on entries
    for each row execute function refuse_change();
create constraint trigger entries_balanced_check after insert on entries
    deferrable initially deferred for each row execute function check_balanced();
