-- no-transaction
call seal_accounts();
