-- Orders and what they became are kept for at least three years (policy, six 2; obligations C-18 and
-- T3.3.4b): the database refuses an earlier end. What is append-only is never deleted at all.
create function refuse_early_deletion() returns trigger language plpgsql as $$
begin
    if (to_jsonb(old) ->> tg_argv[0])::timestamptz > now() - interval '3 years' then
        raise exception 'a row of % is kept for three years', tg_table_name
            using errcode = 'restrict_violation';
    end if;
    return old;
end $$;

create trigger orders_kept before delete on orders
    for each row execute function refuse_early_deletion('created_at');
create trigger leases_kept before delete on leases
    for each row execute function refuse_early_deletion('granted_at');
create trigger orders_no_truncate before truncate on orders
    for each statement execute function refuse_change();
create trigger leases_no_truncate before truncate on leases
    for each statement execute function refuse_change();

-- Beside the triggers the service's own role loses the privilege, so that a mistake in a statement
-- fails even where somebody switched the triggers off.
revoke delete, truncate on transfers, entries, payments, calls, price_lists, prices,
    ledger_accounts, ledger_checkpoints, ledger_checkpoint_heads from current_user;
revoke truncate on orders, leases from current_user;
revoke update on entries, payments, calls, ledger_checkpoint_heads from current_user;
-- Sealing entries from before the chain.
grant update (chain_position, chain_hash) on entries to current_user;
-- A foreign key locks the row that it names, for which the privilege to update some column is asked;
-- the trigger refuses the update itself.
grant update (paid_at) on payments to current_user;
