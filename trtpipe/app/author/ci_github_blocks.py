"""The text of GitHub's workflow and action, in blocks whose places `ci_github` fills.

Three rules of its security: an expression never stands in a line of shell, because a name could be shell as well; the
token may write in one step only; and neither a secret nor a machine of one's own is given to the code of a fork.
"""

from __future__ import annotations

HEAD = """\
@ABOUT@
name: trtpipe

on:
  pull_request:
  push:
    branches: [@BRANCH@]

permissions:
  contents: read

# A new commit of a pull request ends the run of the one before it.
concurrency:
  group: trtpipe-${{ github.ref }}
  cancel-in-progress: ${{ github.event_name == 'pull_request' }}

defaults:
  run:
    shell: bash
    @INSIDE@

@ENV@
jobs:
"""

CHECK = """\
  check:
    name: Check the specs
    runs-on: @ORDINARY@
    timeout-minutes: 30
    outputs:
      @OUTPUTS@
    @NO_REMOTE@
    steps:
      @CHECKOUT@
      - uses: ./@ACTION@
        with:
          cache: check
          run: check
      @LOCK@
      - name: List the cells
        id: cells
        run: |
          @LIST@
"""

LOCK = """\
- name: Compare the lockfile with the specs
  run: trtpipe lock --check
"""

BUILD = """\

  build:
    name: Build (${{ matrix.name }})
    needs: check
    if: ${{ contains(needs.check.outputs.build, 'cells') }}
    strategy:
      fail-fast: false
      matrix: ${{ fromJSON(needs.check.outputs.build) }}
    runs-on: ${{ matrix.runner }}
    timeout-minutes: 180
    env:
      CELLS: ${{ matrix.cells }}
      @ACCESS@
    steps:
      @CHECKOUT@
      - uses: ./@ACTION@
        with:
          cache: ${{ matrix.toolchain }}
      - name: Build
        run: |
          @BUILD@
      - name: Report what changed
        if: ${{ !cancelled() }}
        run: |
          @CHANGES@
      - name: Keep the store small
        run: trtpipe cache gc --older-than 7d --max-size 2GiB
      - uses: actions/upload-artifact@v4
        if: ${{ !cancelled() }}
        with:
          name: trtpipe-build-${{ strategy.job-index }}
          path: @PREFIX@build/
          retention-days: 7
"""

PROVE = """\

  prove:
    name: Prove (${{ matrix.name }})
    needs: [@BEFORE@]
    # Code of a fork is not run on machines of your own.
    if: >-
      ${{ !cancelled() && !failure() && contains(needs.check.outputs.prove, 'cells') &&
      (github.event_name != 'pull_request' || @NOT_A_FORK@) }}
    strategy:
      fail-fast: false
      matrix: ${{ fromJSON(needs.check.outputs.prove) }}
    runs-on: ${{ matrix.runner }}
    timeout-minutes: 180
    env:
      CELLS: ${{ matrix.cells }}
      @ACCESS@
    steps:
      @CHECKOUT@
      - uses: ./@ACTION@
      - name: Take the engines that were built
        if: ${{ matrix.build == 'anywhere' }}
        uses: actions/download-artifact@v4
        with:
          pattern: trtpipe-build-*
          path: @PREFIX@build
          merge-multiple: true
      - name: Build the engines that only this GPU can build
        if: ${{ matrix.build == 'here' }}
        run: |
          @BUILD@
          @CHANGES@
      - name: Prove the engines on this GPU
        run: |
          read -ra cells <<< "$CELLS"
          trtpipe validate "${cells[@]/#/build/}"
      - name: Report the proofs
        if: ${{ !cancelled() }}
        run: |
          read -ra cells <<< "$CELLS"
          trtpipe report "${cells[@]/#/build/}"
      - uses: actions/upload-artifact@v4
        if: ${{ !cancelled() && matrix.build == 'here' }}
        with:
          name: trtpipe-gpu-${{ strategy.job-index }}
          path: @PREFIX@build/
          retention-days: 7
      - uses: actions/upload-artifact@v4
        if: ${{ !cancelled() }}
        with:
          name: trtpipe-prove-${{ strategy.job-index }}
          path: |
            @PREFIX@build/*/*/*.json
            @PREFIX@build/*/*/report.html
          retention-days: 7
"""

REPORT = """\

  report:
    name: Report
    needs: [@BEFORE@]
    if: ${{ !cancelled() }}
    runs-on: @ORDINARY@
    timeout-minutes: 15
    permissions:
      contents: read
      pull-requests: write # for the comment
    @NO_REMOTE@
    steps:
      @CHECKOUT@
      - uses: ./@ACTION@
      - uses: actions/download-artifact@v4
        with:
          pattern: trtpipe-*
          path: @PREFIX@jobs
      - name: Make one report of all jobs
        if: ${{ needs.check.result == 'success' }}
        run: trtpipe ci report jobs
      - uses: actions/upload-artifact@v4
        if: ${{ needs.check.result == 'success' }}
        with:
          name: report
          path: @PREFIX@build/
      # The token of a pull request from a fork may not comment: its report is on the page of the run.
      - name: Comment on the pull request
        if: >-
          ${{ !cancelled() && github.event_name == 'pull_request' &&
          @NOT_A_FORK@ }}
        env:
          GH_TOKEN: ${{ github.token }}
          NUMBER: ${{ github.event.pull_request.number }}
          COMMIT: ${{ github.event.pull_request.head.sha }}
          CHECK: ${{ needs.check.result }}
          @RESULTS@
        run: |
          run="$GITHUB_SERVER_URL/$GITHUB_REPOSITORY/actions/runs/$GITHUB_RUN_ID"
          SUBJECT="$COMMIT, [run $GITHUB_RUN_NUMBER]($run): check $CHECK@RESULT_WORDS@"
          @COMMENT@
          comments="repos/$GITHUB_REPOSITORY/issues/$NUMBER/comments"
          ours='.[] | select(.user.login == "github-actions[bot]" and (.body | startswith("<!-- trtpipe -->"))) | .id'
          ids="$(gh api --paginate "$comments" --jq "$ours")"
          if [ -n "$ids" ]; then
            comment="repos/$GITHUB_REPOSITORY/issues/comments/${ids%%$'\\n'*}"
            gh api --silent --method PATCH "$comment" --field body=@comment.md
          else
            gh api --silent --method POST "$comments" --field body=@comment.md
          fi
"""

CHECKOUT = """\
- uses: actions/checkout@v4
  with:
    persist-credentials: false
    fetch-depth: 2
    @LARGE@
"""

BUILD_CELLS = """\
read -ra cells <<< "$CELLS"
GITHUB_STEP_SUMMARY= trtpipe build @FROZEN@--keep-going "${cells[@]}"
@PUSH@
"""

CHANGES = """\
read -ra cells <<< "$CELLS"
since=()
if git show HEAD^:./trtpipe.lock > "$RUNNER_TEMP/before.lock" 2> /dev/null; then
  since=(--since "$RUNNER_TEMP/before.lock")
fi
GITHUB_STEP_SUMMARY= trtpipe report "${cells[@]}" "${since[@]}"
"""

ACTION_FILE = """\
@ABOUT@
name: trtpipe
description: Installs trtpipe, keeps its store from one run to the next, and runs a command of it.

inputs:
  python:
    description: The version of Python.
    default: "@PYTHON@"
  packages:
    description: What pip installs, separated by blanks.
    default: "@PACKAGES@"
  cache:
    description: The name that the store is kept under from one run to the next. Left out, it is not kept.
    default: ""
  run:
    description: The arguments of trtpipe, separated by blanks. Left out, trtpipe is only installed.
    default: ""

runs:
  using: composite
  steps:
    - uses: actions/setup-python@v5
      with:
        python-version: ${{ inputs.python }}
        cache: pip
        cache-dependency-path: |
          @ACTION@/action.yml
          @REQUIREMENTS@
    - name: Keep the store
      if: ${{ inputs.cache != '' }}
      uses: actions/cache@v4
      with:
        path: ~/.cache/trtpipe
        key: trtpipe-${{ runner.os }}-${{ inputs.cache }}-${{ hashFiles(@HASHED@) }}
        restore-keys: trtpipe-${{ runner.os }}-${{ inputs.cache }}-
    - name: Install trtpipe
      shell: bash
      env:
        PACKAGES: ${{ inputs.packages }}
      run: |
        read -ra packages <<< "$PACKAGES"
        python -m venv "$RUNNER_TEMP/trtpipe"
        "$RUNNER_TEMP/trtpipe/bin/python" -m pip install --disable-pip-version-check "${packages[@]}"
        echo "$RUNNER_TEMP/trtpipe/bin" >> "$GITHUB_PATH"
    - name: Run trtpipe
      if: ${{ inputs.run != '' }}
      shell: bash
      working-directory: @DIRECTORY@
      env:
        ARGUMENTS: ${{ inputs.run }}
      run: |
        read -ra arguments <<< "$ARGUMENTS"
        trtpipe "${arguments[@]}"
"""
