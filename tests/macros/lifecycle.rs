//! Making, starting and stopping a plugin.

use std::sync::atomic::{AtomicU32, Ordering};

use framex::prelude::*;
use framex::{BoxError, PluginDefinition};
use framex_core::expand::NoConfig;
use framex_core::settings::{Loaded, Settings, Sources};

use crate::support::context;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Limits {
    #[serde(default)]
    most: u32,
}

struct Configured {
    most: u32,
    started: AtomicU32,
}

#[on_register(plugin = "configured", config = Limits)]
impl Configured {
    fn new(limits: Limits) -> Result<Self, BoxError> {
        if limits.most > 10 {
            return Err("too many".into());
        }
        Ok(Self {
            most: limits.most,
            started: AtomicU32::new(0),
        })
    }

    async fn on_start(&self, ctx: &Context) -> Result<()> {
        assert_eq!(ctx.plugin().name, "configured");
        self.started.fetch_add(1, Ordering::Relaxed);
        if self.most == 7 {
            return Err(Error::unavailable("seven"));
        }
        Ok(())
    }

    async fn on_stop(&self) {
        self.started.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Its configuration's type is that of `new`.
struct Inferred(u32);

#[on_register(plugin = "inferred")]
impl Inferred {
    fn new(Limits { most }: Limits) -> Self {
        Self(most)
    }

    async fn on_start(&self) {}

    async fn on_stop(&self) -> Result<(), std::io::Error> {
        Err(std::io::Error::other("stuck"))
    }
}

struct Bare;

#[on_register(plugin = "bare", version = env!("CARGO_PKG_NAME"))]
impl Bare {
    fn new() -> Self {
        Self
    }
}

#[derive(Default)]
struct Defaulted;

#[on_register(plugin = "de-faulted")]
impl Defaulted {}

fn limits(most: u32) -> Limits {
    Limits { most }
}

#[test]
fn new_makes_the_plugin_or_refuses() {
    assert_eq!(Configured::create(limits(3)).unwrap().most, 3);
    let error = Configured::create(limits(11)).map(|_| ()).unwrap_err();
    assert_eq!(error.source().unwrap().to_string(), "too many");
    assert_eq!(Inferred::create(limits(4)).unwrap().0, 4);
    assert!(Bare::create(NoConfig {}).is_ok());
    assert!(Defaulted::create(NoConfig {}).is_ok());
}

#[tokio::test]
async fn hooks_run_and_may_fail() {
    let plugin = Configured::create(limits(3)).unwrap();
    let ctx = context::<Configured>();
    Plugin::on_start(&plugin, &ctx).await.unwrap();
    assert_eq!(plugin.started.load(Ordering::Relaxed), 1);
    Plugin::on_stop(&plugin).await.unwrap();
    assert_eq!(plugin.started.load(Ordering::Relaxed), 0);

    let plugin = Configured::create(limits(7)).unwrap();
    let error = Plugin::on_start(&plugin, &ctx).await.unwrap_err();
    assert_eq!(error.message(), "seven");

    let plugin = Inferred(0);
    Plugin::on_start(&plugin, &context::<Inferred>())
        .await
        .unwrap();
    assert!(Plugin::on_stop(&plugin).await.is_err());
    Plugin::on_start(&Defaulted, &context::<Defaulted>())
        .await
        .unwrap();
    Plugin::on_stop(&Defaulted).await.unwrap();
}

#[test]
fn a_plugin_without_configuration_refuses_any_key() {
    assert!(serde_json::from_str::<NoConfig>("{}").is_ok());
    let error = serde_json::from_str::<NoConfig>(r#"{"a":1}"#).unwrap_err();
    assert!(error.to_string().contains("unknown field `a`"), "{error}");
}

/// Settings that say `value` under `key`, and nothing else.
fn settings(key: &str, value: u32) -> Loaded {
    let mut sources = Sources {
        dir: "/nowhere".into(),
        ..Sources::default()
    };
    sources.overrides.set("--test", key, value);
    Settings::load(&sources).unwrap()
}

#[tokio::test]
async fn a_definition_builds_the_plugin_with_its_apis() {
    let definition = PluginDefinition::of::<Configured>();
    assert_eq!(definition.metadata().name, "configured");
    let instance = definition
        .build(&settings("plugins.configured.most", 3))
        .unwrap();
    assert!(instance.apis().is_empty());
    instance.start(&context::<Configured>()).await.unwrap();
    instance.stop().await.unwrap();
    assert_eq!(Bare::metadata().version, "framex");
    assert_eq!(Defaulted::metadata().version, env!("CARGO_PKG_VERSION"));
    assert_eq!(Defaulted::metadata().name, "de-faulted");
}

#[test]
fn a_plugin_that_cannot_be_made_names_itself_and_why() {
    for (definition, key, reason) in [
        (
            PluginDefinition::of::<Configured>(),
            "plugins.configured.most",
            "plugin `configured` cannot be made: too many",
        ),
        (
            PluginDefinition::of::<Configured>(),
            "plugins.configured.mots",
            "did you mean `plugins.configured.most`",
        ),
        (
            PluginDefinition::of::<Bare>(),
            "plugins.bare.any",
            "unknown key `plugins.bare.any`",
        ),
    ] {
        let error = definition.build(&settings(key, 11)).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }
}
