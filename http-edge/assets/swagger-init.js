"use strict";

SwaggerUIBundle({
  url: new URL(document.documentElement.dataset.openapi, document.baseURI).href,
  domNode: document.getElementById("docs"),
  deepLinking: true,
  displayRequestDuration: true,
  validatorUrl: "none",
});
