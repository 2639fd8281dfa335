#!/bin/sh
# A release is a tag vX.Y.Z on a commit and a GitHub release with what was built from it.
#
#   release.sh tag        tag HEAD as the next patch, in this clone only; nothing to do
#                         when it has a release's tag already
#   release.sh publish    push HEAD's tag to $REMOTE (default origin), and make the GitHub
#                         release with dist/*; safe to run again
#
# Building between the two makes the artifacts carry the release's version, and a build
# that fails its smoke test leaves no tag behind for anyone else.
# A new minor or major version is a tag pushed by hand: git tag v1.3.0 && git push origin v1.3.0
set -eu
cd "$(dirname "$0")/.."
remote=${REMOTE:-origin}

next=$(.ci/python.sh .ci/version.py --next)

case $1 in
tag)
    if git rev-parse --quiet --verify "refs/tags/$next" >/dev/null; then
        echo "this commit is $next already"
    else
        git tag "$next"
        echo "tagged this commit as $next"
    fi
    ;;
publish)
    git rev-parse --quiet --verify "refs/tags/$next" >/dev/null ||
        { echo "this commit has no release's tag: run make tag build" >&2; exit 1; }
    version=${next#v}
    wheel=dist/imgctl-$version-py3-none-any.whl
    sdist=dist/imgctl-$version.tar.gz
    for file in "$wheel" "$sdist"; do
        [ -f "$file" ] || { echo "$file is not there: run make build" >&2; exit 1; }
    done
    git push "$remote" "refs/tags/$next"
    if gh release view "$next" >/dev/null 2>&1; then
        echo "the GitHub release $next exists already"
    else
        gh release create "$next" --verify-tag --generate-notes "$wheel" "$sdist"
    fi
    ;;
*)
    echo "release.sh tag|publish" >&2
    exit 2
    ;;
esac
