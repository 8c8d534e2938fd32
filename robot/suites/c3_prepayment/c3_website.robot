*** Settings ***
Documentation       C3: what is asked of the website beside the scenarios.
Library             ../../keywords/prepayment_meter.py
Library             ../../keywords/prepayment_head_end.py
Library             ../../keywords/prepayment_meter_data.py
Library             ../../keywords/website_browser.py
Test Setup          The Site Is Provisioned


*** Test Cases ***
Historical Usage Is Shown On The Website
    [Tags]    C3-NR-05
    The Head End Sends    CONNECT
    A Recording Interval Ends
    The Head End Collects
    Customer Signs In At The Website
    Website Shows The Historical Usage
