"""gpunet beside its peers on the CPU: same weights and batches, a process for each, interleaved rounds."""
