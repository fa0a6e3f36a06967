# Copyright 2026 DistServer authors
# Distributed under the terms of the MIT license

EAPI=8

inherit tiny
DESCRIPTION="Its source is not the one of the Manifest"
SRC_URI="https://distfiles.example.invalid/fetch-altered-1.txt"
