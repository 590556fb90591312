"""Proofs about bundles: that their edges fit, and what stands in front of members behind a reshape or a cast."""
