-- Each entry is chained to the one before it of the same ledger account: its hash covers its own
-- content, its transfer's and the hash before. The database chains what is inserted, whoever inserts
-- it, so that the version before this one is chained too (ADR 7). The account's row is locked by
-- whoever books on it anyway: chaining makes nobody wait for another account.
alter table ledger_accounts
    -- Null: entries from before the chain are still to be sealed.
    add column chain_position bigint,
    -- The hash of the entry at that position; of an account without entries: its beginning.
    add column chain_hash bytea;
alter table entries
    add column chain_position bigint,
    add column chain_hash bytea;

-- The hash that an account's chain begins with: it says whose account it is.
create function chain_beginning(kind text, account_id uuid) returns bytea language sql stable as $$
    select sha256(convert_to('wanwu-ledger-account-1', 'UTF8')
        || int4send(octet_length(kind)) || convert_to(kind, 'UTF8')
        || coalesce(uuid_send(account_id), ''))
$$;

create function chain_next(
    previous bytea, account bigint, chain_position bigint, transfer_id uuid, kind text,
    cause_id uuid, booked_at timestamptz, amount_nanos bigint
) returns bytea language sql stable as $$
    select sha256(convert_to('wanwu-ledger-entry-1', 'UTF8')
        || previous || int8send(account) || int8send(chain_position) || uuid_send(transfer_id)
        || int4send(octet_length(kind)) || convert_to(kind, 'UTF8') || uuid_send(cause_id)
        || int8send((extract(epoch from booked_at) * 1000000)::bigint) || int8send(amount_nanos))
$$;

-- Chains the entries from before the chain, in the order in which they were booked.
create function seal_account(account bigint) returns void language plpgsql as $$
declare
    head ledger_accounts;
    entry record;
    reached bigint := 0;
    hash bytea;
begin
    select * into head from ledger_accounts where ledger_account_id = account for no key update;
    if not found or head.chain_position is not null then
        return;
    end if;
    hash := chain_beginning(head.kind, head.account_id);
    for entry in
        select e.transfer_id, e.amount_nanos, t.kind, t.cause_id, t.booked_at
        from entries e join transfers t using (transfer_id)
        where e.ledger_account_id = account and e.chain_position is null
        order by t.booked_at, e.transfer_id
    loop
        reached := reached + 1;
        hash := chain_next(hash, account, reached, entry.transfer_id, entry.kind, entry.cause_id,
                           entry.booked_at, entry.amount_nanos);
        update entries set chain_position = reached, chain_hash = hash
        where transfer_id = entry.transfer_id and ledger_account_id = account;
    end loop;
    update ledger_accounts set chain_position = reached, chain_hash = hash
    where ledger_account_id = account;
end $$;

create function chain_entry() returns trigger language plpgsql as $$
declare
    head record;
    transfer record;
begin
    select chain_position, chain_hash into head from ledger_accounts
    where ledger_account_id = new.ledger_account_id for no key update;
    if found and head.chain_position is null then
        perform seal_account(new.ledger_account_id);
        select chain_position, chain_hash into head from ledger_accounts
        where ledger_account_id = new.ledger_account_id;
    end if;
    select kind, cause_id, booked_at into transfer from transfers where transfer_id = new.transfer_id;
    new.chain_position := head.chain_position + 1;
    new.chain_hash := chain_next(head.chain_hash, new.ledger_account_id, new.chain_position,
        new.transfer_id, transfer.kind, transfer.cause_id, transfer.booked_at, new.amount_nanos);
    update ledger_accounts set chain_position = new.chain_position, chain_hash = new.chain_hash
    where ledger_account_id = new.ledger_account_id;
    return new;
end $$;

-- The only change that an entry ever sees is being sealed, once.
drop trigger entries_append_only on entries;
create trigger entries_append_only before update on entries for each row
    when (old.chain_hash is not null
          or (old.transfer_id, old.ledger_account_id, old.amount_nanos)
             is distinct from (new.transfer_id, new.ledger_account_id, new.amount_nanos))
    execute function refuse_change();
create trigger entries_no_delete before delete on entries
    for each row execute function refuse_change();
create trigger entries_chain before insert on entries
    for each row execute function chain_entry();
