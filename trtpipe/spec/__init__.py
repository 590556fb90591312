"""What the user wrote, validated and frozen. Pure data: nothing here reads a file or knows TensorRT."""
