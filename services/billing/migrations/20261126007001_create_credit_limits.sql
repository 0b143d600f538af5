-- How far below zero the balance of an enterprise may go. The version before this one goes on: it lends
-- nothing beyond zero, and what it writes is written as before. Limits are set when every replica is of
-- this version: the one before books too much as owed when the bank takes back from a balance below zero.

-- What one operator proposes and another one decides.
create table credit_limit_requests (
    credit_limit_request_id uuid        not null,
    account_id              uuid        not null,
    state                   text        not null,
    -- In 10^-9 CNY.
    limit_nanos             bigint      not null,
    contract                text        not null,
    -- The enterprise's code in the public register. A person's business (92) has none here, so it is no
    -- personal data.
    uscc                    text        not null,
    ends_at                 timestamptz not null,
    requested_at            timestamptz not null,
    requested_by            uuid        not null,
    decided_at              timestamptz,
    decided_by              uuid,
    constraint credit_limit_requests_pkey primary key (credit_limit_request_id),
    constraint credit_limit_requests_state_check
        check (state in ('requested', 'approved', 'withdrawn')),
    constraint credit_limit_requests_limit_nanos_check
        check (limit_nanos between 1 and 100000000000000000),
    constraint credit_limit_requests_uscc_check
        check (uscc ~ '^[0-9A-HJ-NPQRTUWXY]{18}$' and uscc not like '92%'),
    constraint credit_limit_requests_ends_at_check check (ends_at > requested_at),
    -- Nobody raises a limit alone.
    constraint credit_limit_requests_decided_by_check
        check (case state when 'requested' then num_nonnulls(decided_by, decided_at) = 0
                          when 'approved' then num_nonnulls(decided_by, decided_at) = 2
                                               and decided_by <> requested_by
                          else num_nonnulls(decided_by, decided_at) = 2 end)
);
-- One at a time of an account.
create unique index credit_limit_requests_open_key on credit_limit_requests (account_id)
    where state = 'requested';
-- What was proposed never changes, and is decided once.
create trigger credit_limit_requests_proposed before update on credit_limit_requests for each row
    when (old.state <> 'requested'
          or (old.credit_limit_request_id, old.account_id, old.limit_nanos, old.contract, old.uscc,
              old.ends_at, old.requested_at, old.requested_by)
             is distinct from
             (new.credit_limit_request_id, new.account_id, new.limit_nanos, new.contract, new.uscc,
              new.ends_at, new.requested_at, new.requested_by))
    execute function refuse_change();
create trigger credit_limit_requests_kept before delete on credit_limit_requests
    for each row execute function refuse_early_deletion('requested_at');
create trigger credit_limit_requests_no_truncate before truncate on credit_limit_requests
    for each statement execute function refuse_change();
revoke truncate on credit_limit_requests from current_user;
insert into retention_bases (table_name, basis, years) values
    ('credit_limit_requests', 'e_commerce_law_31', 3),
    ('credit_limit_requests', 'accounting_archives_vouchers', 30);

-- Every limit that was in force; the newest of an account is.
create table credit_limits (
    credit_limit_id         bigint      generated always as identity,
    account_id              uuid        not null,
    limit_nanos             bigint      not null,
    -- Null: there is no limit any more.
    ends_at                 timestamptz,
    -- Null: lowered or ended.
    credit_limit_request_id uuid,
    set_at                  timestamptz not null,
    -- Null: its time was over.
    set_by                  uuid,
    constraint credit_limits_pkey primary key (credit_limit_id),
    constraint credit_limits_credit_limit_request_id_key unique (credit_limit_request_id),
    constraint credit_limits_credit_limit_request_id_fkey
        foreign key (credit_limit_request_id) references credit_limit_requests,
    constraint credit_limits_limit_nanos_check
        check (limit_nanos >= 0 and (limit_nanos = 0) = (ends_at is null))
);
create index credit_limits_account_id_idx on credit_limits (account_id, credit_limit_id);
create trigger credit_limits_append_only before update or delete on credit_limits
    for each row execute function refuse_change();
create trigger credit_limits_no_truncate before truncate on credit_limits
    for each statement execute function refuse_change();
revoke update, delete, truncate on credit_limits from current_user;

-- The limit in force stands in the row of the balance that it bounds. A balance changes under its row's
-- lock, and so does the limit: whoever holds the lock reads both as they are, and there is no order in
-- which a limit falls between the look at it and the lending.
alter table ledger_accounts
    add column credit_nanos   bigint not null default 0,
    add column credit_ends_at timestamptz,
    add constraint ledger_accounts_credit_nanos_check
        check (credit_nanos >= 0 and (credit_nanos = 0 or kind = 'available')
               and (credit_nanos = 0) = (credit_ends_at is null));

-- Puts a limit in force. More, or for longer, than what is in force takes a request that two people
-- agreed on.
create function set_credit() returns trigger language plpgsql as $$
declare
    held record;
begin
    select credit_nanos, credit_ends_at into strict held from ledger_accounts
    where kind = 'available' and account_id = new.account_id for no key update;
    if new.credit_limit_request_id is null then
        if new.limit_nanos > held.credit_nanos or new.ends_at > held.credit_ends_at then
            raise exception 'one operator alone only lowers a limit'
                using errcode = 'check_violation', constraint = 'credit_limits_two_operators_check';
        end if;
    elsif not exists (
        select from credit_limit_requests r
        where r.credit_limit_request_id = new.credit_limit_request_id and r.state = 'approved'
          and (r.account_id, r.limit_nanos, r.ends_at, r.decided_by)
              = (new.account_id, new.limit_nanos, new.ends_at, new.set_by)
    ) then
        raise exception 'the limit is not what two operators agreed on'
            using errcode = 'check_violation', constraint = 'credit_limits_two_operators_check';
    end if;
    update ledger_accounts set credit_nanos = new.limit_nanos, credit_ends_at = new.ends_at
    where kind = 'available' and account_id = new.account_id;
    return null;
end $$;
create trigger credit_limits_in_force after insert on credit_limits
    for each row execute function set_credit();

-- No limit but the newest one of the account comes into its row.
create function check_credit() returns trigger language plpgsql as $$
begin
    if not exists (
        select from (select limit_nanos, ends_at from credit_limits
                     where account_id = new.account_id order by credit_limit_id desc limit 1) as newest
        where (limit_nanos, ends_at) is not distinct from (new.credit_nanos, new.credit_ends_at)
    ) then
        raise exception 'the limit of % is not the one in force', new.account_id
            using errcode = 'check_violation', constraint = 'ledger_accounts_credit_in_force_check';
    end if;
    return null;
end $$;
create constraint trigger ledger_accounts_credit_in_force
    after update of credit_nanos, credit_ends_at on ledger_accounts
    for each row execute function check_credit();
create constraint trigger ledger_accounts_credit_at_first after insert on ledger_accounts
    for each row when (new.credit_nanos <> 0) execute function check_credit();

-- A customer's free credit may be below zero, as far as the limit says; everything else may not. Only what
-- falls is refused: after a limit was lowered what is owed stays owed, and money that comes is taken.
-- The name is that of the check which said so before, for callers of every version.
alter table ledger_accounts
    drop constraint ledger_accounts_balance_nanos_check,
    add constraint ledger_accounts_balance_nanos_check
        check (case when kind = 'discount' then balance_nanos <= 0
               else kind like 'cash\_%' or kind in ('available', 'bank_owed') or balance_nanos >= 0 end);
create function refuse_owing() returns trigger language plpgsql as $$
begin
    raise exception 'the balance would fall below minus the credit limit'
        using errcode = 'check_violation', constraint = 'ledger_accounts_balance_nanos_check';
end $$;
create constraint trigger ledger_accounts_owing after update of balance_nanos on ledger_accounts
    for each row when (new.kind = 'available' and new.balance_nanos < old.balance_nanos
                       and new.balance_nanos < -new.credit_nanos)
    execute function refuse_owing();
create constraint trigger ledger_accounts_owing_at_first after insert on ledger_accounts
    for each row when (new.kind = 'available' and new.balance_nanos < -new.credit_nanos)
    execute function refuse_owing();

-- What accounts that have or had a limit owed when a month was over, and when it is due.
create table credit_dues (
    account_id uuid        not null,
    month      date        not null,
    owed_nanos bigint      not null,
    due_at     timestamptz not null,
    made_at    timestamptz not null,
    constraint credit_dues_pkey primary key (account_id, month),
    constraint credit_dues_month_check check (extract(day from month) = 1),
    constraint credit_dues_owed_nanos_check check (owed_nanos >= 0)
);
create trigger credit_dues_append_only before update or delete on credit_dues
    for each row execute function refuse_change();
create trigger credit_dues_no_truncate before truncate on credit_dues
    for each statement execute function refuse_change();
revoke update, delete, truncate on credit_dues from current_user;
