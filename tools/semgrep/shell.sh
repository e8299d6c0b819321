#!/usr/bin/env bash
# Cases for the rules of shell.yaml: a line after `ruleid` is found, and one after `ok` is not. Nothing runs this file.

# ruleid: nothing-downloaded-is-run-at-once
curl --max-time 9 https://example.com/install | sh
# ruleid: nothing-downloaded-is-run-at-once
wget --quiet --output-document - https://example.com/install | bash -s -- --yes
# ruleid: nothing-downloaded-is-run-at-once
eval "$(curl --max-time 9 https://example.com/variables)"
# ok: nothing-downloaded-is-run-at-once
curl --max-time 9 --output install https://example.com/install

# ruleid: curl-has-a-time-limit
curl --fail --output answer "https://$HOSTNAME/health"
# ok: curl-has-a-time-limit
curl --fail --max-time 10 --output answer "https://$HOSTNAME/health"
