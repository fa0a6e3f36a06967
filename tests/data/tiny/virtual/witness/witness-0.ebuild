# Copyright 2026 DistServer authors
# Distributed under the terms of the MIT license

EAPI=8

inherit tiny
DESCRIPTION="Anything that bears witness"
RDEPEND="app-misc/witness"
