-- Seals account after account, each in a transaction of its own.
create procedure seal_accounts() language plpgsql as $$
declare
    account bigint;
begin
    for account in
        select ledger_account_id from ledger_accounts where chain_position is null
    loop
        perform seal_account(account);
        commit;
    end loop;
end $$;

-- The index of the chain serves who looked for an account's entries.
drop index entries_ledger_account_id_idx;
