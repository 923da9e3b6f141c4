"""What AWS calls services, as plain classes over the store, without HTTP."""
