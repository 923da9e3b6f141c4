"""AWS Lambda on your own machine."""
