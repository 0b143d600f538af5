//! Personal values are planted, and then looked for where they may not be.

use std::{
    collections::HashMap,
    fs,
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool, postgres::PgPoolOptions};
use tokio::time::sleep;

use super::{Figure, Kind, Reading, Tier, customers::scripted};
use crate::{journey::Journey, stack::Stack};

/// People whose number, name, resident ID and device are planted.
const PEOPLE: usize = 13;
/// So many of them at the same time.
const AT_ONCE: usize = 4;
/// By then the events and the spans of the last of them are written, and what they had set aside is back.
const WRITTEN: Duration = Duration::from_secs(3);
/// Where files only grow, and where they may be written anew anywhere.
const APPENDED: [&str; 2] = ["logs", "traces"];
const REWRITTEN: [&str; 1] = ["rabbitmq"];
/// Each person leaves more rows than these, in all databases together.
const ROWS_EACH: i64 = 10;

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
    let before = Before::now(&stack).await?;
    let planted: Vec<[String; 4]> = stream::iter(0..PEOPLE)
        .map(|_| plant(&stack))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let planted = planted.concat();
    sleep(WRITTEN).await;
    let mut found = Vec::new();
    let dir = &stack.description().dir;
    let mut looked = 0;
    for folder in APPENDED.into_iter().chain(REWRITTEN) {
        looked += before.search_files(&dir.join(folder), &planted, &mut found)?;
    }
    let (mut tables, mut rows) = (0, 0);
    for (service, url) in &stack.description().database.urls {
        let pool = PgPoolOptions::new().max_connections(1).connect(url).await?;
        let searched = before
            .search_database(service, &pool, &planted, &mut found)
            .await?;
        tables += searched.0;
        rows += searched.1;
    }
    println!(
        "  {} values looked for in {looked} files and in {rows} new rows of {tables} tables",
        planted.len()
    );
    for place in &found {
        println!("  FOUND in {place}");
    }
    let searched = looked > 10 && tables > 30 && rows > PEOPLE as i64 * ROWS_EACH;
    Ok(Reading {
        figure: found.len().to_string(),
        unit: "places with a planted value".to_owned(),
        goal: "0".to_owned(),
        holds: found.is_empty() && searched,
    })
}

/// A person comes, calls, and says something wrong; answers what nobody may write about them.
async fn plant(stack: &Stack) -> anyhow::Result<[String; 4]> {
    let journey = Journey::ready_to_call(stack, 100).await?;
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
    let person = journey.person;
    Ok([person.phone, person.name, person.resident_id, device])
}

/// How much there was before anything was planted. The values are made after it, so that what is older
/// holds none of them.
struct Before {
    /// The lengths of files that only grow, by inode: one that is put aside under another name keeps it.
    lengths: HashMap<u64, u64>,
    /// Row versions of this transaction and later ones are new.
    transaction: i64,
}

impl Before {
    async fn now(stack: &Stack) -> anyhow::Result<Self> {
        let mut lengths = HashMap::new();
        for folder in APPENDED {
            for path in files_in(&stack.description().dir.join(folder))? {
                if let Ok(file) = fs::metadata(&path) {
                    lengths.insert(file.ino(), file.len());
                }
            }
        }
        // All databases are of one cluster, which counts its transactions.
        let mut database = PgConnection::connect(&stack.database_url("billing")).await?;
        let transaction: i64 = sqlx::query_scalar("select txid_current()")
            .fetch_one(&mut database)
            .await?;
        Ok(Self {
            lengths,
            transaction,
        })
    }

    /// Looks at what is new in the files of a folder; answers how many there are.
    fn search_files(
        &self,
        folder: &Path,
        planted: &[String],
        found: &mut Vec<String>,
    ) -> anyhow::Result<usize> {
        let mut looked = 0;
        for path in files_in(folder)? {
            // Gone while we looked, or a socket.
            let Ok(content) = self.new_part(&path) else {
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

    /// What was written into a file since; all of it where it is shorter than it was.
    fn new_part(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut file = fs::File::open(path)?;
        let now = file.metadata()?;
        let before = self.lengths.get(&now.ino()).copied();
        let before = before.filter(|length| *length <= now.len());
        file.seek(SeekFrom::Start(before.unwrap_or_default()))?;
        let mut content = Vec::new();
        file.read_to_end(&mut content)?;
        Ok(content)
    }

    /// Looks at every new row of every table as text, and at its bytes as hex; answers how many tables and
    /// rows there are.
    async fn search_database(
        &self,
        service: &str,
        pool: &PgPool,
        planted: &[String],
        found: &mut Vec<String>,
    ) -> anyhow::Result<(usize, i64)> {
        let tables: Vec<String> = sqlx::query_scalar(
            "select quote_ident(tablename) from pg_tables where schemaname = 'public'",
        )
        .fetch_all(pool)
        .await?;
        let patterns: Vec<String> = planted
            .iter()
            .flat_map(|value| [format!("%{value}%"), format!("%{}%", hex::encode(value))])
            .collect();
        let mut looked = 0;
        for table in &tables {
            let query = format!(
                "select count(*), count(*) filter (where t::text like any($1))
                 from {table} t where t.xmin::text::bigint >= $2"
            );
            let (rows, count): (i64, i64) = sqlx::query_as(AssertSqlSafe(query))
                .bind(&patterns)
                .bind(self.transaction)
                .fetch_one(pool)
                .await?;
            looked += rows;
            if count > 0 {
                found.push(format!("database {service}, table {table}: {count} rows"));
            }
        }
        Ok((tables.len(), looked))
    }
}

/// Every file of a folder and of those in it.
fn files_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let (mut files, mut folders) = (Vec::new(), vec![PathBuf::from(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let Ok(entry) = entry else { continue };
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path);
            }
        }
    }
    Ok(files)
}
