# Copyright 2026 DistServer authors
# Distributed under the terms of the MIT license

EAPI=8

inherit tiny
DESCRIPTION="Its source has to be fetched by a person"
SRC_URI="fetch-by-hand-1.txt"
RESTRICT="fetch"
