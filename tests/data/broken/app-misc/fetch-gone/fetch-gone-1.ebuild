# Copyright 2026 DistServer authors
# Distributed under the terms of the MIT license

EAPI=8

inherit tiny
DESCRIPTION="Its source is nowhere"
SRC_URI="https://distfiles.example.invalid/fetch-gone-1.txt"
