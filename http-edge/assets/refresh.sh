#!/bin/sh
# Fetches the two viewers of the docs pages again, with npm, and writes into
# this directory: the *.gz files, licenses.txt and NOTICE.md.
#
# To move to another version, change it here and run the script. The same
# versions give the same bytes. It needs npm, node, tar and gzip.
#
# The pages must not send a request to another host, so every address that a
# viewer would fetch by itself is replaced. The script fails if one is not
# where it was: then look at the new version before shipping it.

set -eu

swagger_version=5.35.0
redoc_version=2.5.4

assets=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# fetch NAME VERSION: unpacks the package into $work/NAME/package.
fetch() {
  mkdir "$work/$1"
  npm pack --silent --pack-destination "$work/$1" "$1@$2" >/dev/null
  tar -xzf "$work/$1/$1-$2.tgz" -C "$work/$1"
}

# replace FILE COUNT OLD NEW: literally, and only if OLD occurs COUNT times.
replace() {
  node -e '
    const fs = require("node:fs");
    const [file, count, from, to] = process.argv.slice(1);
    const parts = fs.readFileSync(file, "latin1").split(from);
    if (parts.length - 1 !== Number(count)) {
      console.error(`${file}: ${parts.length - 1} times, not ${count}: ${from}`);
      process.exit(1);
    }
    fs.writeFileSync(file, parts.join(to), "latin1");
  ' "$@"
}

# absent FILE TEXT: fails if TEXT is still there.
absent() {
  if grep -qF -e "$2" "$1"; then
    echo "$1: still names $2" >&2
    exit 1
  fi
}

# pack FILE: marks it as changed, which its licence asks for, and compresses it
# into the assets, without name and time.
pack() {
  {
    echo '/*! Changed for FrameX: no requests to other hosts, no source map. */'
    cat "$1"
  } | gzip -n9 >"$assets/$(basename "$1").gz"
}

fetch swagger-ui-dist "$swagger_version"
fetch redoc "$redoc_version"
swagger=$work/swagger-ui-dist/package
redoc=$work/redoc/package/bundles

# The badge that shows the document to an online validator.
replace "$swagger/swagger-ui-bundle.js" 3 'https://validator.swagger.io/validator' 'none'
# The logo beside "API docs by Redocly": one transparent pixel instead.
replace "$redoc/redoc.standalone.js" 1 'https://cdn.redoc.ly/redoc/logo-mini.svg' \
  'data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=='
# Source maps are not shipped, so nothing should ask for them.
replace "$swagger/swagger-ui.css" 1 '/*# sourceMappingURL=swagger-ui.css.map*/' ''
replace "$redoc/redoc.standalone.js" 1 '//# sourceMappingURL=redoc.standalone.js.map' ''
replace "$redoc/redoc.standalone.js" 1 \
  '\n//# sourceMappingURL=d87bcbdbea8f8f5aa26f.worker.js.map' ''

for file in "$swagger/swagger-ui.css" "$swagger/swagger-ui-bundle.js" "$redoc/redoc.standalone.js"; do
  for text in validator.swagger.io cdn. fonts.googleapis fonts.gstatic unpkg.com; do
    absent "$file" "$text"
  done
  pack "$file"
done
absent "$swagger/swagger-ui.css" 'url(http'
absent "$swagger/swagger-ui.css" '@import'

{
  echo "The API documentation pages contain Swagger UI $swagger_version and Redoc $redoc_version."
  echo "Both were changed; NOTICE.md, in the directory of the sources, says how."
  cd "$work"
  for file in \
    swagger-ui-dist/package/NOTICE \
    swagger-ui-dist/package/LICENSE \
    swagger-ui-dist/package/swagger-ui-bundle.js.LICENSE.txt \
    redoc/package/LICENSE \
    redoc/package/bundles/redoc.standalone.js.LICENSE.txt \
    redoc/package/bundles/*.worker.js.LICENSE.txt; do
    printf '\n==== %s: %s\n\n' "${file%%/*}" "${file#*/package/}"
    tr -d '\r' <"$file" | sed 's/[[:space:]]*$//'
  done
} >"$assets/licenses.txt"

cat >"$assets/NOTICE.md" <<NOTICE
# Third-party files in this directory

Written by \`refresh.sh\`. The full licence texts, and those of the libraries
inside the bundles, are in \`licenses.txt\`, which the binary serves as well.

| File | From (npm) | Licence | Copyright |
| --- | --- | --- | --- |
| \`swagger-ui.css.gz\` | swagger-ui-dist $swagger_version | Apache-2.0 | 2020-2021 SmartBear Software Inc. |
| \`swagger-ui-bundle.js.gz\` | swagger-ui-dist $swagger_version | Apache-2.0 | 2020-2021 SmartBear Software Inc. |
| \`redoc.standalone.js.gz\` | redoc $redoc_version | MIT | 2015-present, Rebilly, Inc. |

## Changes

All three begin with a line that says so, and are compressed with gzip. Then:

- \`swagger-ui-bundle.js\`: the address of the online validator, three times, is
  now \`none\`, the setting that turns its badge off.
- \`swagger-ui.css\`: without the reference to its source map.
- \`redoc.standalone.js\`: the logo that it loaded from another host is one
  transparent pixel in a \`data:\` URL; without the two references to source maps.

Everything else here (\`favicon.svg\`, \`redoc-init.js\`, \`swagger-init.js\`) is
FrameX's own.
NOTICE
