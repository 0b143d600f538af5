//! One role and one database a service; no role reaches another's.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// Makes what is missing and sets the passwords.
pub async fn ensure(
    superuser_url: &str,
    passwords: &BTreeMap<String, String>,
) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(superuser_url).await?;
    for (service, password) in passwords {
        // Names come from our own list and passwords are hex digits; identifiers cannot be bound.
        let role = quoted(service);
        if !exists(
            &mut connection,
            "select 1 from pg_roles where rolname = $1",
            service,
        )
        .await?
        {
            run(&mut connection, format!("create role {role} login")).await?;
        }
        run(
            &mut connection,
            format!("alter role {role} password '{password}'"),
        )
        .await?;
        if !exists(
            &mut connection,
            "select 1 from pg_database where datname = $1",
            service,
        )
        .await?
        {
            run(
                &mut connection,
                format!("create database {role} owner {role}"),
            )
            .await?;
        }
        run(
            &mut connection,
            format!("revoke all on database {role} from public"),
        )
        .await?;
    }
    connection.close().await
}

async fn exists(
    connection: &mut PgConnection,
    question: &'static str,
    name: &str,
) -> Result<bool, sqlx::Error> {
    Ok(sqlx::query(question)
        .bind(name)
        .fetch_optional(connection)
        .await?
        .is_some())
}

async fn run(connection: &mut PgConnection, statement: String) -> Result<(), sqlx::Error> {
    sqlx::query(AssertSqlSafe(statement))
        .execute(connection)
        .await
        .map(drop)
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
