-- Append-only means that nothing goes, also not everything at once.
create trigger transfers_no_truncate before truncate on transfers
    for each statement execute function refuse_change();
create trigger entries_no_truncate before truncate on entries
    for each statement execute function refuse_change();
create trigger calls_no_truncate before truncate on calls
    for each statement execute function refuse_change();
create trigger price_lists_no_truncate before truncate on price_lists
    for each statement execute function refuse_change();
create trigger prices_no_truncate before truncate on prices
    for each statement execute function refuse_change();

-- A payment is a fact too.
create trigger payments_append_only before update or delete on payments
    for each row execute function refuse_change();
create trigger payments_no_truncate before truncate on payments
    for each statement execute function refuse_change();

-- How long closed leases wait for their last calls.
create index leases_closed_at_idx on leases (closed_at) where state = 'closed';
