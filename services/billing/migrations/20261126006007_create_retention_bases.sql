-- Why rows are kept, and how long (deviation C-18): several bases may hold one table, and the longest
-- wins. A change of law is a new row.
create table retention_bases (
    table_name text    not null,
    basis      text    not null,
    years      integer not null,
    constraint retention_bases_pkey primary key (table_name, basis),
    constraint retention_bases_years_check check (years > 0)
);
insert into retention_bases (table_name, basis, years)
select kept.table_name, bases.basis, bases.years
from (values
    -- E-Commerce Law, article 31: three years from the transaction; policy, six 2.
    ('e_commerce_law_31', 3),
    -- Measures for accounting archives (2015), annex 1: vouchers and ledgers.
    ('accounting_archives_vouchers', 30)
) as bases (basis, years)
cross join (values ('orders'), ('invoices'), ('bank_lines'), ('bank_transfers'), ('terminations'))
    as kept (table_name);
insert into retention_bases (table_name, basis, years) values
    ('leases', 'e_commerce_law_31', 3),
    ('reconciliation_cases', 'e_commerce_law_31', 3),
    -- Statements of account and their reconciliation are auxiliary records.
    ('reconciliation_cases', 'accounting_archives_auxiliary', 10),
    ('provider_bills', 'accounting_archives_auxiliary', 10);
create trigger retention_bases_append_only before update or delete on retention_bases
    for each row execute function refuse_change();
create trigger retention_bases_no_truncate before truncate on retention_bases
    for each statement execute function refuse_change();
revoke update, delete, truncate on retention_bases from current_user;

create or replace function refuse_early_deletion() returns trigger language plpgsql as $$
declare
    kept integer;
begin
    select coalesce(max(years), 3) into kept from retention_bases where table_name = tg_table_name;
    if (to_jsonb(old) ->> tg_argv[0])::timestamptz > now() - make_interval(years => kept) then
        raise exception 'a row of % is kept for % years', tg_table_name, kept
            using errcode = 'restrict_violation';
    end if;
    return old;
end $$;
