"use strict";

// Fonts of the reader's system: nothing to load.
const text = 'system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';
const code = 'ui-monospace, SFMono-Regular, Menlo, Consolas, monospace';

Redoc.init(
  new URL(document.documentElement.dataset.openapi, document.baseURI).href,
  {
    theme: {
      typography: {
        fontFamily: text,
        headings: { fontFamily: text },
        code: { fontFamily: code },
      },
    },
  },
  document.getElementById("docs"),
);
