//! The models that can be called, with everything that a call of each needs.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use aws_lc_rs::hmac;
use http::HeaderValue;

use crate::{
    admission::Admission,
    config::{InvalidConfig, LabelConfig, ModelConfig, Sections, invalid},
    domain::label::{DEMONSTRATION_CODE, Labeller, ProviderCode},
    engine::pool::{Engine, Pool},
};

/// One model.
#[derive(Debug)]
pub struct Model {
    /// As configured.
    pub config: ModelConfig,
    /// Its engines.
    pub pool: Pool,
    /// Its places.
    pub admission: Arc<Admission>,
    /// Labels its answers.
    pub labeller: Labeller,
}

/// Models by name.
#[derive(Debug)]
pub struct Catalogue(BTreeMap<String, Arc<Model>>);

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
        for model in &config.models {
            let mut engines = Vec::with_capacity(model.engines.len());
            for engine in &model.engines {
                let token = engine
                    .token_file
                    .as_deref()
                    .map(authorization)
                    .transpose()?;
                let eject_after = config.engines.eject_after;
                engines.push(Arc::new(Engine::new(&engine.url, token, eject_after)));
            }
            let code = match &model.label_route {
                Some(route) => code.for_route(route),
                None => code.clone(),
            };
            let model = Model {
                config: model.clone(),
                pool: Pool::new(engines),
                admission: Admission::new(&config.chat),
                labeller: Labeller::new(code, integrity.clone()),
            };
            models.insert(model.config.name.clone(), Arc::new(model));
        }
        Ok(Self(models))
    }

    /// The model with this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Arc<Model>> {
        self.0.get(name)
    }

    /// Every model, by name.
    pub fn models(&self) -> impl Iterator<Item = &Arc<Model>> {
        self.0.values()
    }

    /// Every engine and where it says that it is well.
    #[must_use]
    pub fn engines(&self) -> Vec<(Arc<Engine>, String)> {
        let of = |model: &Arc<Model>| {
            let path = model.config.health_path.clone();
            model
                .pool
                .engines()
                .iter()
                .map(move |e| (e.clone(), path.clone()))
                .collect::<Vec<_>>()
        };
        self.models().flat_map(of).collect()
    }
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
