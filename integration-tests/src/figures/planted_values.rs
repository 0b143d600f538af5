//! Personal values are planted, and then looked for where they may not be.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::json;
use sqlx::{AssertSqlSafe, PgPool, postgres::PgPoolOptions};

use super::{Figure, Kind, Reading, Tier, customers::scripted};
use crate::{journey::Journey, stack::Stack};

/// People whose number, name, resident ID and device are planted.
const PEOPLE: usize = 13;

/// The figure.
pub(super) fn figure() -> Figure {
    Figure {
        name: "planted-values",
        claim: "52 planted personal values: none in logs, spans, broker or database outside sealed columns",
        kind: Kind::Correctness,
        measure: |stack, tier| Box::pin(measure(stack, tier)),
    }
}

async fn measure(stack: Stack, _: Tier) -> anyhow::Result<Reading> {
    let mut planted = Vec::new();
    for _ in 0..PEOPLE {
        let journey = Journey::ready_to_call(&stack, 100).await?;
        let device = uuid::Uuid::new_v4().to_string();
        let body = json!({"kind": "DEVICE_IDENTIFIER_KIND_OAID", "identifier": device});
        let method = "wanwu.device.v1.DeviceService/RegisterDevice";
        journey
            .api()
            .call(method, Some(journey.secret()), body)
            .await?;
        journey.chat(scripted(json!({"tokens": 2}))).await?;
        // What is refused is written about most readily.
        let wrong = json!({"phone": format!("{}x", journey.person.phone)});
        let method = "wanwu.identity.v1.SessionService/SendVerificationCode";
        let _ = journey.api().call(method, None, wrong).await;
        planted.extend([
            journey.person.phone.clone(),
            journey.person.name.clone(),
            journey.person.resident_id.clone(),
            device,
        ]);
    }
    // Names are made of few characters: two people may share one, and that is no find.
    tokio::time::sleep(std::time::Duration::from_secs(7)).await;
    let mut found = Vec::new();
    let dir = &stack.description().dir;
    let mut looked = 0;
    for folder in ["logs", "traces", "rabbitmq"] {
        looked += search_files(&dir.join(folder), &planted, &mut found)?;
    }
    let mut columns = 0;
    for (service, url) in &stack.description().database.urls {
        let pool = PgPoolOptions::new().max_connections(1).connect(url).await?;
        columns += search_database(service, &pool, &planted, &mut found).await?;
    }
    println!(
        "  {} values looked for in {looked} files and {columns} tables",
        planted.len()
    );
    for place in &found {
        println!("  FOUND in {place}");
    }
    let searched = looked > 10 && columns > 30;
    Ok(Reading {
        figure: found.len().to_string(),
        unit: "places with a planted value".to_owned(),
        goal: "0".to_owned(),
        holds: found.is_empty() && searched,
    })
}

fn search_files(
    folder: &Path,
    planted: &[String],
    found: &mut Vec<String>,
) -> anyhow::Result<usize> {
    let mut files = vec![PathBuf::from(folder)];
    let mut looked = 0;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(fs::read_dir(&path)?.filter_map(|entry| Some(entry.ok()?.path())));
            continue;
        }
        // Gone while we looked, or a socket.
        let Ok(content) = fs::read(&path) else {
            continue;
        };
        looked += 1;
        let text = String::from_utf8_lossy(&content);
        if planted.iter().any(|value| text.contains(value.as_str())) {
            found.push(path.display().to_string());
        }
    }
    Ok(looked)
}

/// Looks at every row of every table as text, and at its bytes as hex.
async fn search_database(
    service: &str,
    pool: &PgPool,
    planted: &[String],
    found: &mut Vec<String>,
) -> anyhow::Result<usize> {
    let tables: Vec<String> = sqlx::query_scalar(
        "select quote_ident(tablename) from pg_tables where schemaname = 'public'",
    )
    .fetch_all(pool)
    .await?;
    let patterns: Vec<String> = planted
        .iter()
        .flat_map(|value| [format!("%{value}%"), format!("%{}%", hex::encode(value))])
        .collect();
    for table in &tables {
        let query = format!("select count(*) from {table} t where t::text like any($1)");
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(query))
            .bind(&patterns)
            .fetch_one(pool)
            .await?;
        if count > 0 {
            found.push(format!("database {service}, table {table}: {count} rows"));
        }
    }
    Ok(tables.len())
}
