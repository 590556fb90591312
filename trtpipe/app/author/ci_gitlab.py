"""Writes a file for GitLab CI that `.gitlab-ci.yml` includes.

Its jobs have no `stage`, so they fit into any pipeline that has the stage `test`, and run in the order of their needs.
Their lines of shell are those of any POSIX shell, because a runner need not have bash.
"""

from __future__ import annotations

from trtpipe.app.author.ci_matrix import NO_GPU, OPTION
from trtpipe.app.author.ci_needs import CiNeeds
from trtpipe.app.author.ci_text import COMMENT, PUSH, comment_lines, filled, listed

MAIN_FILE = ".gitlab-ci.yml"
JOBS = ".gitlab/trtpipe.yml"
INCLUDE = f"include:\n  - local: {JOBS}\n"

_HEAD = """\
@ABOUT@
.trtpipe:
  image: python:@PYTHON@
  timeout: 3h
  interruptible: true
  variables:
    PIP_CACHE_DIR: $CI_PROJECT_DIR/.cache/pip
    XDG_CACHE_HOME: $CI_PROJECT_DIR/.cache
    @VARIABLES@
  rules:
    - if: $CI_PIPELINE_SOURCE == "merge_request_event"
    @MAIN_RULES@
  before_script:
    - |
      python3 -m venv .cache/venv
      .cache/venv/bin/python -m pip install --disable-pip-version-check @PACKAGES@
      export PATH="$CI_PROJECT_DIR/.cache/venv/bin:$PATH"
    @INSIDE@
"""

_CACHE = """\
cache:
  key: trtpipe-$CI_JOB_NAME_SLUG
  paths: [.cache/pip, .cache/trtpipe]
"""

_CHECK = """\

trtpipe-check:
  extends: .trtpipe
  @CACHE@
  @ORDINARY@
  script:
    - trtpipe check --code-quality trtpipe-problems.json
    @LOCK@
    # An engine that no runner can build is an error here.
    - @LIST@
  artifacts:
    when: always
    paths: [@PREFIX@trtpipe-problems.json]
    reports:
      codequality: @PREFIX@trtpipe-problems.json
"""

_BUILD = """\

trtpipe-build:
  extends: .trtpipe
  needs: [trtpipe-check]
  @CACHE@
  @ORDINARY@
  script:
    - |
      cells="$(trtpipe ci matrix --cells none)"
      if [ -z "$cells" ]; then exit 0; fi
      code=0
      trtpipe build @FROZEN@--keep-going $cells || code=$?
      @PUSH@
      @CHANGES@
      trtpipe report $cells "$@" || code=$?
      trtpipe cache gc --older-than 7d --max-size 2GiB
      mkdir -p jobs
      if [ -d build ]; then mv build jobs/build; fi
      exit "$code"
  artifacts:
    when: always
    expire_in: 1 week
    paths: [@PREFIX@jobs/build]
    reports:
      junit: @PREFIX@jobs/build/junit.xml
"""

_PROVE = """\

trtpipe-prove-@GPU@:
  extends: .trtpipe
  tags: [@TAGS@]
  needs: [@BEFORE@]
  rules:
    # Code of a fork is not run on machines of your own.
    - if: $CI_MERGE_REQUEST_SOURCE_PROJECT_ID != $CI_MERGE_REQUEST_PROJECT_ID
      when: never
    - if: $CI_PIPELINE_SOURCE == "merge_request_event"
    @MAIN_RULES@
  script:
    - |
      cells="$(trtpipe ci matrix --for run --cells @GPU@)"
      own="$(trtpipe ci matrix --cells @GPU@)"
      code=0
      if [ -d jobs/build ]; then mv jobs/build build; rm -f build/report.json; fi
      if [ -n "$own" ]; then
        trtpipe build @FROZEN@--keep-going $own || code=$?
        @PUSH@
        @CHANGES@
        trtpipe report $own "$@" || code=$?
      fi
      set --
      for cell in $cells; do set -- "$@" "build/$cell"; done
      if [ "$#" -gt 0 ]; then
        trtpipe validate "$@" || code=$?
        trtpipe report "$@" || code=$?
      fi
      mkdir -p jobs
      if [ -d build ]; then mv build jobs/prove-@GPU@; fi
      exit "$code"
  artifacts:
    when: always
    expire_in: 1 week
    paths: [@PREFIX@jobs/prove-@GPU@]
"""

_REPORT = """\

trtpipe-report:
  extends: .trtpipe
  @ORDINARY@
  needs:
    @NEEDS@
  rules:
    - if: $CI_PIPELINE_SOURCE == "merge_request_event"
      when: always
    - if: $CI_COMMIT_BRANCH == "@BRANCH@"
      when: always
  script:
    - if [ -d jobs ]; then trtpipe ci report jobs; fi
    # A comment needs a token that may write it: the variable TRTPIPE_GITLAB_TOKEN, with the scope api.
    - |
      if [ -z "$CI_MERGE_REQUEST_IID" ] || [ -z "$TRTPIPE_GITLAB_TOKEN" ]; then
        echo "no comment: this is no merge request, or TRTPIPE_GITLAB_TOKEN is not set"
        exit 0
      fi
      SUBJECT="$CI_COMMIT_SHA, [pipeline $CI_PIPELINE_ID]($CI_PIPELINE_URL)"
      @COMMENT@
      notes="$CI_API_V4_URL/projects/$CI_PROJECT_ID/merge_requests/$CI_MERGE_REQUEST_IID/notes"
      api() { curl --fail --silent --show-error --header "PRIVATE-TOKEN: $TRTPIPE_GITLAB_TOKEN" "$@"; }
      ours='import json, sys
      notes = json.load(sys.stdin)
      ids = [note["id"] for note in notes if note["body"].startswith("<!-- trtpipe -->")]
      print(ids[0] if ids else "more" if len(notes) == 100 else "none")'
      page=1
      found=more
      while [ "$found" = more ]; do
        found="$(api "$notes?per_page=100&page=$page" | python3 -c "$ours")"
        page=$((page + 1))
      done
      if [ "$found" = none ]; then
        api --request POST --data-urlencode body@comment.md --output /dev/null "$notes"
      else
        api --request PUT --data-urlencode body@comment.md --output /dev/null "$notes/$found"
      fi
  artifacts:
    when: always
    expose_as: trtpipe report
    paths: [@PREFIX@build/]
"""

_CHANGES = """\
set --
before="${CI_MERGE_REQUEST_DIFF_BASE_SHA:-$CI_COMMIT_BEFORE_SHA}"
git fetch --quiet --depth 1 origin "$before" || true
lock="$XDG_CACHE_HOME/before.lock"
if git show "$before:./trtpipe.lock" > "$lock" 2> /dev/null; then set -- --since "$lock"; fi
"""


def gitlab_files(needs: CiNeeds) -> dict[str, str]:
    """The files by their paths in the repository: the jobs, and a `.gitlab-ci.yml` where there is none."""
    main = needs.root / MAIN_FILE
    files = {JOBS: _jobs(needs)}
    if not main.exists() or main.read_text(encoding="utf-8", errors="replace") == INCLUDE:
        files[MAIN_FILE] = INCLUDE
    return files


def has_include(needs: CiNeeds) -> bool:
    """Whether the repository's `.gitlab-ci.yml` seems to include the jobs."""
    main = needs.root / MAIN_FILE
    return not main.exists() or JOBS in main.read_text(encoding="utf-8", errors="replace")


def _jobs(needs: CiNeeds) -> str:
    values, before = _values(needs), ["trtpipe-check"]
    text = filled(_HEAD, values) + filled(_CHECK, values)
    if needs.builds_anywhere:
        text += filled(_BUILD, values)
        before.append("trtpipe-build")
    proofs = [f"trtpipe-prove-{gpu}" for gpu in needs.gpus]
    for gpu in needs.gpus:
        own = {"GPU": gpu, "TAGS": ", ".join(needs.runners[gpu]), "BEFORE": before[-1]}
        text += filled(_PROVE, {**values, **own})
    jobs = [f"- job: {name}\n" for name in before] + [f"- job: {name}\n  optional: true\n" for name in proofs]
    return text + filled(_REPORT, {**values, "NEEDS": "".join(jobs)})


def _values(needs: CiNeeds) -> dict[str, str]:
    tags = needs.runners.get(NO_GPU, ())
    runners = "".join(f" {OPTION} {gpu}={','.join(needs.runners[gpu])}" for gpu in needs.gpus)
    return {
        "ABOUT": _about(needs),
        "PYTHON": needs.choices.python,
        "PACKAGES": f"'{needs.packages}'" if " " not in needs.packages else _quoted(needs.packages),
        "BRANCH": needs.choices.branch,
        "INSIDE": f"- cd {needs.directory}\n" if needs.directory else "",
        "PREFIX": needs.inside(""),
        "VARIABLES": _variables(needs),
        "MAIN_RULES": _main_rules(needs),
        "CACHE": _CACHE,
        "ORDINARY": f"tags: [{', '.join(tags)}]\n" if tags else "",
        "LOCK": "- trtpipe lock --check\n" if needs.has_lockfile else "",
        "FROZEN": "--frozen " if needs.has_lockfile else "",
        "LIST": f"trtpipe ci matrix --for run {OPTION} none=any{runners}",
        "CHANGES": _CHANGES,
        "PUSH": PUSH.replace("push;", "push || code=$?;") if needs.remote else "",
        "COMMENT": COMMENT,
    }


def _quoted(packages: str) -> str:
    """The packages as words of shell: names with brackets would be patterns."""
    return " ".join(f"'{one}'" if "[" in one else one for one in packages.split())


def _about(needs: CiNeeds) -> str:
    sentences = list[str]()
    if needs.remote and (needs.remote.secrets or needs.remote.settings):
        names = ", ".join([*needs.remote.settings, *needs.remote.secrets])
        sentences.append(
            f"The remote store is reached by the variables {names}. Give protected branches a key that may write, as "
            "protected and masked variables, and merge requests one that may only read, or none."
        )
    if needs.remote and needs.remote.signing:
        sentences.append(f"{needs.remote.signing} holds the signing key: a protected and masked variable.")
    if needs.unproved:
        gpus = listed(list(needs.unproved))
        sentences.append(
            f"Not proved on a GPU: cells for {gpus}. Name runners that have one: {OPTION} GPU=TAG."
        )
    if not needs.has_lockfile:
        sentences.append(
            "There was no trtpipe.lock. Commit the one that trtpipe build writes and write this file anew: then "
            "builds must yield what it says."
        )
    return needs.choices.heading() + comment_lines(*sentences)


def _variables(needs: CiNeeds) -> str:
    lines = ""
    if needs.code:
        lines += comment_lines(f"This project may use {listed(needs.code)}: trtpipe allow --list shows it.")
        lines += 'TRTPIPE_ALLOW_PROJECT_CODE: "1"\n'
    if needs.remote:
        lines += (
            f"# Only the branch {needs.choices.branch}, if it is protected, writes into the remote store.\n"
        )
        lines += "TRTPIPE_REMOTE_MODE: read-only\n"
        lines += f"TRTPIPE_REMOTE: {needs.remote.address}\n" if needs.remote.named else ""
    return lines


def _main_rules(needs: CiNeeds) -> str:
    branch = f'$CI_COMMIT_BRANCH == "{needs.choices.branch}"'
    writes = f"""\
- if: {branch} && $CI_COMMIT_REF_PROTECTED == "true"
  variables:
    TRTPIPE_REMOTE_MODE: read-write
"""
    return (writes if needs.remote else "") + f"- if: {branch}\n"
