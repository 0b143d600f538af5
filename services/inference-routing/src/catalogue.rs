//! The models that can be called, with everything that a call of each needs.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc, time::Instant};

use aws_lc_rs::hmac;
use http::HeaderValue;

use crate::{
    admission::Admission,
    config::{InvalidConfig, LabelConfig, ModelConfig, Sections, invalid},
    domain::{
        engine_report::Reports,
        label::{DEMONSTRATION_CODE, Labeller, ProviderCode},
    },
    engine::{
        discovery::{Source, Watched},
        pool::{Named, Pool},
        probe::Probed,
        reports::Reporting,
    },
    series::Series,
    tokenizer::Tokenizer,
};

/// One model.
#[derive(Debug)]
pub struct Model {
    /// As configured.
    pub config: ModelConfig,
    /// Its engines.
    pub pool: Arc<Pool>,
    /// Its places.
    pub admission: Arc<Admission>,
    /// Labels its answers.
    pub labeller: Labeller,
    /// Counts what its engines do not.
    pub tokenizer: Option<Arc<Tokenizer>>,
    /// What is told of its calls.
    pub series: Series,
}

/// Models by name.
#[derive(Debug)]
pub struct Catalogue {
    models: BTreeMap<String, Arc<Model>>,
    sources: Vec<Watched>,
}

impl Catalogue {
    /// The catalogue of a configuration, with the key of the labels' integrity values.
    /// `production` refuses the demonstration code.
    pub fn build(
        config: &Sections,
        integrity: Option<&[u8]>,
        production: bool,
    ) -> Result<Self, InvalidConfig> {
        let code = provider_code(&config.label, production)?;
        let integrity = integrity.map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret));
        let mut models = BTreeMap::new();
        let mut sources = Vec::new();
        for model in &config.models {
            let pool = pool(config, model, production, &mut sources)?;
            let code = match &model.label_route {
                Some(route) => code.for_route(route),
                None => code.clone(),
            };
            let model = Model {
                config: model.clone(),
                admission: Admission::new(&config.chat, model.max_running, pool.clone()),
                pool,
                labeller: Labeller::new(code, integrity.clone()),
                tokenizer: model.tokenizer_file.as_deref().map(tokenizer).transpose()?,
                series: Series::default(),
            };
            models.insert(model.config.name.clone(), Arc::new(model));
        }
        Ok(Self { models, sources })
    }

    /// The model with this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Arc<Model>> {
        self.models.get(name)
    }

    /// Every model, by name.
    pub fn models(&self) -> impl Iterator<Item = &Arc<Model>> {
        self.models.values()
    }

    /// Every pool, to be asked how its engines are.
    #[must_use]
    pub fn probed(&self) -> Vec<Probed> {
        let probed = |model: &Arc<Model>| Probed {
            model: model.config.name.clone(),
            pool: model.pool.clone(),
            path: model.config.health_path.clone(),
        };
        self.models().map(probed).collect()
    }

    /// Every pool whose engines say what they do.
    #[must_use]
    pub fn reporting(&self) -> Vec<Reporting> {
        let reporting = self
            .models()
            .filter(|model| model.config.reports != Reports::None);
        let reporting = reporting.map(|model| Reporting {
            pool: model.pool.clone(),
            reports: model.config.reports,
        });
        reporting.collect()
    }

    /// What names engines and is to be read again and again.
    #[must_use]
    pub fn sources(&self) -> Vec<Watched> {
        self.sources.clone()
    }
}

/// The pool of a model with the engines that the configuration itself names.
fn pool(
    config: &Sections,
    model: &ModelConfig,
    production: bool,
    sources: &mut Vec<Watched>,
) -> Result<Arc<Pool>, InvalidConfig> {
    // Any start will do for chance that only breaks ties.
    let seed = sources.len() as u64;
    let limits = config.engines.placement();
    let pool = Arc::new(Pool::new(&model.name, model.policy, limits, seed));
    for (at, engine) in model.engines.iter().enumerate() {
        let authorization = engine
            .token_file
            .as_deref()
            .map(authorization)
            .transpose()?;
        match Source::parse(&engine.url) {
            Some(Source::Address(url)) => {
                let named = [Named {
                    url,
                    draining: false,
                }];
                pool.name(at, &named, authorization.as_ref(), Instant::now());
            }
            Some(source) => sources.push(Watched {
                pool: pool.clone(),
                at,
                source,
                authorization,
                production,
            }),
            None => return Err(invalid("models.engines.url", "names no engine")),
        }
    }
    Ok(pool)
}

fn provider_code(config: &LabelConfig, production: bool) -> Result<ProviderCode, InvalidConfig> {
    let key = "label.provider_code";
    let text = match config.provider_code.as_str() {
        "" if !production => DEMONSTRATION_CODE,
        "" => return Err(invalid(key, "production needs the provider's own code")),
        text => text,
    };
    let code = ProviderCode::parse(text).map_err(|error| invalid(key, &error.to_string()))?;
    if production && code.is_demonstration() {
        return Err(invalid(
            key,
            "production does not take the demonstration code",
        ));
    }
    Ok(code)
}

fn tokenizer(path: &Path) -> Result<Arc<Tokenizer>, InvalidConfig> {
    let loaded = Tokenizer::load(path);
    loaded.map(Arc::new).map_err(|error| {
        let source = std::error::Error::source(&error).map(ToString::to_string);
        let problem = format!("{error}: {}", source.unwrap_or_default());
        invalid("models.tokenizer_file", &problem)
    })
}

fn authorization(path: &Path) -> Result<HeaderValue, InvalidConfig> {
    let key = "models.engines.token_file";
    let token = read(key, path)?;
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
        .map_err(|_| invalid(key, "the token is no header"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn read(key: &str, path: &Path) -> Result<String, InvalidConfig> {
    fs::read_to_string(path).map_err(|error| invalid(key, &error.to_string()))
}
