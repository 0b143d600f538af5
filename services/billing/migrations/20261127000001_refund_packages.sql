-- What goes back of a package: what is left of it, what was given with it for nothing, and what ended
-- unused. The kinds that are known stay, whoever brought them.
do $$
declare
    known text;
begin
    select pg_get_expr(conbin, conrelid) into strict known from pg_constraint
    where conname = 'transfers_kind_check';
    alter table transfers drop constraint transfers_kind_check;
    execute format('alter table transfers add constraint transfers_kind_check check ((%s) or kind in (%L, %L, %L))',
        known, 'refund_of_package', 'package_discount_end', 'refund_of_expiry');
end $$;
