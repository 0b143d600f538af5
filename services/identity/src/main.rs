//! Accounts, sessions, apps, keys, operators and standing.

use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use identity::{config::Config, serve};
use wanwu_proto::access::v1::OperatorRole;
use wanwu_service::{Service, Shell};

fn main() -> ExitCode {
    wanwu_service::run::<Identity>()
}

struct Identity;

/// What is done on the host.
#[derive(Debug, Subcommand)]
enum Host {
    /// Operators.
    #[command(subcommand)]
    Operator(OperatorCommand),
}

#[derive(Debug, Subcommand)]
enum OperatorCommand {
    /// Makes an operator; prints the password and the authenticator's address, this once, as JSON.
    Create {
        /// Lower-case letters, digits, dots and hyphens.
        #[arg(long)]
        name: String,
        /// What the operator may do; may be repeated.
        #[arg(long, required = true)]
        role: Vec<Role>,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Role {
    Reviewer,
    Finance,
    PrivacyOfficer,
    Security,
    Support,
    Auditor,
}

impl From<Role> for OperatorRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Reviewer => Self::Reviewer,
            Role::Finance => Self::Finance,
            Role::PrivacyOfficer => Self::PrivacyOfficer,
            Role::Security => Self::Security,
            Role::Support => Self::Support,
            Role::Auditor => Self::Auditor,
        }
    }
}

impl Service for Identity {
    const NAME: &'static str = "identity";
    const DEFAULTS: &'static str = include_str!("../config.default.toml");
    type Config = Config;
    type Command = Host;

    async fn serve(config: Config, shell: Shell) -> anyhow::Result<()> {
        serve::start(config, &shell).await
    }

    async fn migrate(config: Config) -> anyhow::Result<()> {
        wanwu_postgres::migrate(&config.database, &identity::MIGRATIONS).await?;
        let pool = wanwu_postgres::connect(&config.database, Self::NAME).await?;
        let mut connection = pool.acquire().await?;
        Ok(wanwu_postgres::residency::mark(&mut connection, &config.service.region).await?)
    }

    async fn command(config: Config, command: Host) -> anyhow::Result<()> {
        let Host::Operator(OperatorCommand::Create { name, role }) = command;
        let app = serve::on_host(&config).await?;
        let roles: Vec<_> = role.into_iter().map(Into::into).collect();
        let operator = app.create_operator(&name, &roles).await?;
        let address = format!(
            "otpauth://totp/Wanwu:{name}?secret={}&issuer=Wanwu",
            operator.totp_secret
        );
        print(&serde_json::json!({
            "operator_id": operator.operator_id,
            "name": name,
            "password": operator.password,
            "totp_secret": operator.totp_secret,
            "otpauth": address,
        }));
        Ok(())
    }
}

#[allow(
    clippy::print_stdout,
    reason = "a command's answer goes to whoever typed it"
)]
fn print(answer: &serde_json::Value) {
    println!("{answer}");
}
