//! stub
use serde::de::DeserializeOwned;
/// stub
#[derive(Debug, Default)]
pub struct Loaded;
/// stub
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct SettingsError;
impl Loaded {
    /// stub
    pub fn plugin_config<T: DeserializeOwned>(&self, _n: &str) -> Result<T, SettingsError> {
        serde_json::from_str("{}").map_err(|_| SettingsError)
    }
}
