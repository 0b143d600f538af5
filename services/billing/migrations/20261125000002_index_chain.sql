-- no-transaction
create unique index concurrently entries_ledger_account_id_chain_position_key
    on entries (ledger_account_id, chain_position);
