"""The utility's systems: CSS, ADCS, MDMS and the AMI network between them and the meters."""
