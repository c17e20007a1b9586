//! Names of the author's never meet names of ours.

use std::sync::Arc;

use serde_json::json;

use crate::support::value;

/// A scope where every usual name means something else.
#[allow(dead_code)]
mod hostile {
    pub(super) struct Option;
    pub(super) struct Result;
    pub(super) struct Vec;
    pub(super) struct Box;
    pub(super) struct Arc;
    pub(super) struct Ok;
    pub(super) struct Err;
    pub(super) struct Some;
    pub(super) struct None;
    pub(super) struct Probe;
    pub(super) struct Decoder;
    pub(super) struct IsLeaf;
    pub(super) struct String;
    pub(super) fn default_limit() -> u32 {
        5
    }
    pub(super) mod core {}
    pub(super) mod std {}

    /// Has the same methods as the traits behind the macros.
    pub(super) trait Meddler {
        fn outcome(&self) -> Result {
            Result
        }
    }

    #[derive(Default)]
    pub(super) struct Names;

    #[framex::on_register(plugin = "names")]
    impl Names {
        #[framex::on_request(func)]
        #[expect(clippy::too_many_arguments, reason = "every local of the expansion")]
        async fn locals(
            &self,
            plugin: u32,
            api: u32,
            context: u32,
            arguments: u32,
            decoder: u32,
            argument_0: u32,
            outcome: u32,
            problem: u32,
            value: u32,
            #[arg(default = default_limit())] limit: u32,
        ) -> u32 {
            plugin
                + api
                + context
                + arguments
                + decoder
                + argument_0
                + outcome
                + problem
                + value
                + limit
        }

        #[framex::on_request(func)]
        async fn of_std(
            &self,
            texts: ::std::option::Option<::std::vec::Vec<::std::string::String>>,
        ) -> ::std::result::Result<usize, framex::Error> {
            ::std::result::Result::Ok(texts.map_or(0, |texts| texts.len()))
        }

        #[framex::on_request(func, stream)]
        fn items(&self, item: u32) -> impl ::framex::prelude::Stream<Item = u32> {
            ::futures_util::stream::once(async move { item })
        }

        /// Named like the keywords of the lifecycle's trait.
        #[framex::on_request(func)]
        async fn r#match(&self, r#type: u32, _private: u32) -> u32 {
            r#type + _private
        }

        #[framex::on_request(func)]
        async fn metadata(&self) -> u32 {
            1
        }

        #[framex::on_request(func)]
        async fn apis(&self) -> u32 {
            2
        }

        #[framex::on_request(func)]
        async fn create(&self) -> u32 {
            3
        }
    }
}

#[tokio::test]
async fn locals_do_not_meet() {
    let plugin = Arc::new(hostile::Names);
    let args = json!({
        "plugin": 1, "api": 1, "context": 1, "arguments": 1, "decoder": 1,
        "argument_0": 1, "outcome": 1, "problem": 1, "value": 1,
    });
    assert_eq!(value(&plugin, "locals", args).await.unwrap(), 14);
    let args = json!({ "texts": ["a"] });
    assert_eq!(value(&plugin, "of_std", args).await.unwrap(), 1);
    let args = json!({ "type": 1, "_private": 2 });
    assert_eq!(value(&plugin, "match", args).await.unwrap(), 3);
    for (method, result) in [("metadata", 1), ("apis", 2), ("create", 3)] {
        assert_eq!(value(&plugin, method, json!({})).await.unwrap(), result);
    }
}
