//! stub
use framex_bus::Catalog;
use framex_core::route::Route;
/// stub
pub struct Options<'a> {
    /// v
    pub version: String,
    /// p
    pub protected: &'a dyn Fn(&Route) -> bool,
}
impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            version: String::new(),
            protected: &|_| false,
        }
    }
}
/// stub
pub fn document(_: &Catalog, _: &Options<'_>) -> serde_json::Value {
    serde_json::Value::Null
}
