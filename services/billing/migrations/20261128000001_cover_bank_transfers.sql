-- Which word of the guardian covered a minor's bank transfer (obligation T3.3.1c); null: an adult's, or of a
-- version before.
alter table bank_transfers add column allowance_version bigint;
create trigger bank_transfers_allowed before update on bank_transfers for each row
    when (old.allowance_version is distinct from new.allowance_version)
    execute function refuse_change();
