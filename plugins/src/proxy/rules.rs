//! Rules about paths: `/x` is that path, `/x/*` what is below it, `/*` and `*` everything.
